/** What the documents say of commands and settings is so. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { effectiveValues } from '../../src/config.ts';
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
