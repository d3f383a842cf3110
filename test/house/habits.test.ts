/** What a room must not do: read the clock or the environment, skip tests, grow without end. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { habitFaults } from './habits.ts';
import { sourceFiles } from './source-files.ts';

const MAX_LINES = 400;

/** Of tests, which are lists rather than thoughts. */
const MAX_TEST_LINES = 500;

/** The house's own tests name what is forbidden. */
const files = [...sourceFiles('src/**/*.ts'), ...sourceFiles('test/**/*.ts'), ...sourceFiles('bench/**/*.ts')].filter(
  ({ path }) => !path.startsWith('test/house/'),
);

suite('Source files', () => {
  test('keep the habits of their rooms', () => {
    assert.deepEqual(habitFaults(files), []);
  });

  test(`have ${MAX_LINES} lines at most, tests ${MAX_TEST_LINES}`, () => {
    const limitOf = (path: string) => (path.startsWith('test/') ? MAX_TEST_LINES : MAX_LINES);
    const long = files
      .filter(({ path, text }) => text.trimEnd().split('\n').length > limitOf(path))
      .map(({ path }) => path);
    assert.deepEqual(long, []);
  });

  test('open with a comment that says what they are', () => {
    // A file of tests is said by its tests.
    const silent = files
      .filter(({ path, text }) => !path.endsWith('.test.ts') && !text.startsWith('/**'))
      .map(({ path }) => path);
    assert.deepEqual(silent, []);
  });

  const planted: [path: string, text: string][] = [
    ['src/awala/x.ts', 'const now = Date.now();'],
    ['src/gateway/x.ts', 'const now = new Date();'],
    ['src/gateway/x.ts', 'setTimeout(() => {}, 1);'],
    ['src/gateway/x.ts', 'const signal = AbortSignal.timeout(5);'],
    ['src/gateway/x.ts', 'const id = randomUUID();'],
    ['src/awala/x.ts', 'crypto.getRandomValues(octets);'],
    ['src/awala/x.ts', 'const pair = await generateKeyPair();'],
    ['src/services/x.ts', "const level = process.env['LOG_LEVEL'];"],
    ['src/compose.ts', "import { env } from 'node:process';"],
    ['test/x.test.ts', "test.only('a', () => {});"],
    ['test/x.test.ts', "test('a', { skip: true }, () => {});"],
    ['test/x.test.ts', "test('a', { skip: 'too slow' }, () => {});"],
    ['src/x.ts', '// @ts-ignore\nconst a: number = "";'],
  ];
  for (const [path, text] of planted) {
    test(`are found with a bad habit: ${path}: ${text}`, () => {
      assert.equal(habitFaults([{ path, text }]).length, 1);
    });
  }

  const fine: [path: string, text: string][] = [
    ['src/gateway/x.ts', 'const day = new Date(now).toISOString();'],
    ['src/services/x.ts', 'const now = Date.now();'],
    ['src/awala/x.ts', '// Date.now() is an argument here\nconst a = 1;'],
    ['src/cli/main.ts', 'readConfig(process.env);'],
  ];
  for (const [path, text] of fine) {
    test(`are left alone: ${path}: ${text}`, () => {
      assert.deepEqual(habitFaults([{ path, text }]), []);
    });
  }
});
