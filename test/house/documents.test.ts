/** What the documents say of commands and settings is so. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { costReport, costTable } from '../../src/cli/cost.ts';
import { LIST_PRICES } from '../../src/cli/cost-prices.ts';
import { effectiveValues } from '../../src/config.ts';
import { RECORD_KINDS } from '../../src/gateway/ports.ts';
import { projectRoot, sourceFiles } from './source-files.ts';

const read = (file: string) => readFileSync(path.join(projectRoot, file), 'utf8');

suite('Documents', () => {
  test('of operators have a row with the default of every setting, in order', () => {
    const rows = [...read('docs/operate.md').matchAll(/^\| `([A-Z_]+)` \| (?:`(.*?)`|\(none\)) \|/gm)];
    assert.deepEqual(
      rows.map(([, variable, value]) => ({ variable, value: value ?? '' })),
      effectiveValues({}).map(({ variable, value }) => ({ variable, value: value ?? '' })),
    );
  });

  test('of operators set up a collection of Firestore for every kind of record', () => {
    const [, collections = ''] = /^for records in ([^;]+); do$/m.exec(read('docs/operate.md')) ?? [];
    assert.deepEqual(collections.replaceAll('\\\n', '').split(/\s+/).sort(), [...RECORD_KINDS].sort());
  });

  test('of performance print what the cloud costs as the command does', () => {
    const [, printed = ''] = /^```\n(US dollars [^`]+)```$/m.exec(read('docs/performance.md')) ?? [];
    assert.equal(printed, `${costTable(costReport(LIST_PRICES))}\n`);
  });

  test('of recovery tell what to do about everything that recover finds', () => {
    const codes = ['src/backends/local/directory-faults.ts', 'src/compose/recovery.ts'].flatMap((file) =>
      [...read(file).matchAll(/(?:^ {2}\| | \| |code: )'([A-Z]+_[A-Z_]+)'/gm)].map(([, code = '']) => code),
    );
    assert.ok(codes.length > 10, 'the codes are found');
    const text = read('docs/recovery.md');
    assert.deepEqual(
      codes.filter((code) => !text.includes(`\`${code}\``)),
      [],
    );
  });

  test('name only npm scripts that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    for (const { path: file, text } of [...sourceFiles('*.md'), ...sourceFiles('docs/**/*.md')]) {
      for (const [, script = ''] of text.matchAll(/\bnpm run (?:-\S+ )*([a-z][a-z:-]*)/g)) {
        assert.ok(scripts[script], `${file}: npm run ${script}`);
      }
    }
  });

  test('link only to files that there are', () => {
    for (const { path: file, text } of [...sourceFiles('*.md'), ...sourceFiles('docs/**/*.md')]) {
      for (const [, target = ''] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
        assert.ok(existsSync(path.join(projectRoot, path.dirname(file), target)), `${file}: ${target}`);
      }
    }
  });
});
