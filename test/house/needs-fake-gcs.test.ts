/** Whether tests against fake-gcs-server run, are skipped or fail, by what the machine has. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { needsFakeGcs } from '../support/fake-gcs-server.ts';

suite('A test that needs fake-gcs-server', () => {
  test('is skipped and told where there is no Go, also in continuous integration', () => {
    const { skip } = needsFakeGcs({ PATH: '/nowhere', CI: 'true' });
    assert.match(`${skip}`, /^This machine lacks go: .*go install github\.com\/fsouza\/fake-gcs-server@/);
  });

  test('fails in continuous integration where there is Go, which could install it', (context) => {
    const { environment } = machineWithGo(context);
    assert.match(`${needsFakeGcs(environment).skip}`, /^This machine lacks fake-gcs-server: go install /);
    assert.throws(() => needsFakeGcs({ ...environment, CI: 'true' }), /lacks fake-gcs-server/);
  });

  test('runs where Go installed it, though that folder is not on the PATH', (context) => {
    const { environment, workspace, bin } = machineWithGo(context);
    writeProgram(path.join(workspace, 'bin'), 'fake-gcs-server', '');
    assert.deepEqual(needsFakeGcs({ ...environment, CI: 'true' }), {});
    assert.throws(() => needsFakeGcs({ ...environment, CI: 'true', GOBIN: bin }), /lacks fake-gcs-server/);
    writeProgram(bin, 'fake-gcs-server', '');
    assert.deepEqual(needsFakeGcs({ ...environment, CI: 'true', GOBIN: bin }), {});
  });
});

/** A PATH with nothing but a Go that knows its folders, of which `go env` tells as the real one does. */
function machineWithGo(context: TestContext) {
  const directory = mkdtempSync(path.join(tmpdir(), 'needs-fake-gcs-'));
  context.after(() => rmSync(directory, { recursive: true }));
  const [tools, workspace, bin] = ['tools', 'workspace', 'bin'].map((name) => path.join(directory, name)) as [
    string,
    string,
    string,
  ];
  writeProgram(tools, 'go', '[ "$*" = "env GOBIN GOPATH" ] && echo "$GOBIN" && echo "$GOPATH:/elsewhere"');
  return { environment: { PATH: tools, GOPATH: workspace }, workspace, bin };
}

function writeProgram(directory: string, name: string, script: string): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(path.join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}
