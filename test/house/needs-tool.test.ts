/** Tests that the machine cannot run are told, and fail where all must run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, test } from 'node:test';
import { needsTool } from '../support/needs-tool.ts';
import { projectRoot } from './source-files.ts';

const NO_SUCH_TOOL = 'no-such-tool-anywhere';

suite('A test that needs a tool', () => {
  test('runs where the machine has it', () => {
    assert.deepEqual(needsTool('sh', 'impossible', { PATH: '/nowhere:/bin', CI: 'true' }), {});
  });

  test('is skipped, with how to get it, where the machine lacks it', () => {
    const { skip } = needsTool(NO_SUCH_TOOL, 'apt-get install it', { PATH: '/bin' });
    assert.equal(skip, 'This machine lacks no-such-tool-anywhere: apt-get install it');
  });

  test('fails in continuous integration where the machine lacks it', () => {
    assert.throws(() => needsTool(NO_SUCH_TOOL, 'apt-get install it', { PATH: '/bin', CI: 'true' }), /lacks no-such/);
  });

  test('is told in the last lines of the run', (context) => {
    const directory = mkdtempSync(path.join(tmpdir(), 'needs-tool-'));
    context.after(() => rmSync(directory, { recursive: true }));
    const support = path.join(projectRoot, 'test/support');
    const file = path.join(directory, 'x.test.ts');
    writeFileSync(
      file,
      `import { test } from 'node:test';
       import { needsTool } from ${JSON.stringify(`${support}/needs-tool.ts`)};
       test('uses it', needsTool('${NO_SUCH_TOOL}', 'apt-get install it', {}), () => {});
       test('goes on', () => {});`,
    );
    const { NODE_TEST_CONTEXT: _, ...environment } = process.env;
    const run = spawnSync(process.execPath, ['--test', `--test-reporter=${support}/reporter.ts`, file], {
      encoding: 'utf8',
      env: environment,
    });
    assert.equal(run.status, 0);
    assert.match(run.stdout, /pass 1\n/);
    assert.deepEqual(run.stdout.trimEnd().split('\n').slice(-2), [
      `This machine lacks ${NO_SUCH_TOOL}: apt-get install it`,
      '1 test was skipped for want of it.',
    ]);
  });
});
