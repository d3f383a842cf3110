/** Words that a room must not use, as data, and their checker. */
import { type SourceFile, withoutComments } from './source-files.ts';

interface Habit {
  /** Completes "FILE …". */
  readonly fault: string;
  readonly applies: (path: string) => boolean;
  readonly words: RegExp;
}

const isPure = (path: string) => path.startsWith('src/awala/') || path.startsWith('src/gateway/');
const isTest = (path: string) => path.startsWith('test/');

/** Where the environment enters the program. */
const READS_ENVIRONMENT = ['src/config.ts', 'src/cli/main.ts'];

const HABITS: readonly Habit[] = [
  {
    fault: 'reads the clock',
    applies: isPure,
    words: /\bDate\.now\b|\bnew Date\(\)|\bDate\(\)|\bperformance\b|\bhrtime\b/,
  },
  {
    fault: 'sets a timer',
    applies: isPure,
    words: /\bset(Timeout|Interval|Immediate)\b|\bAbortSignal\.timeout\b|['"]node:timers/,
  },
  {
    fault: 'draws chance',
    applies: isPure,
    words: /\bMath\.random\b|\brandom(Bytes|UUID|UUIDv7|Int|Fill|FillSync)\b|\bgetRandomValues\b|\bgenerateKey\w*\b/,
  },
  {
    fault: 'reads the environment',
    applies: (path) => path.startsWith('src/') && !READS_ENVIRONMENT.includes(path),
    words: /\bprocess\s*\.\s*env\b|\bprocess\[|\benv\b[^\n]*from 'node:process'/,
  },
  {
    fault: 'runs only some tests, or skips some',
    // The one that knows what the machine lacks.
    applies: (path) => isTest(path) && path !== 'test/support/needs-tool.ts',
    words: /\b(test|it|suite|describe|t|context)\.(only|skip|todo)\(|\b(only|skip|todo): (true|['"`])/,
  },
  {
    fault: 'silences the compiler or the linter',
    applies: () => true,
    words: /@ts-(ignore|nocheck)/,
  },
];

/** Each habit in each file that has it, as lines for people. */
export function habitFaults(files: readonly SourceFile[]): string[] {
  return files.flatMap(({ path, text }) => {
    const code = withoutComments(text);
    // What silences a tool stands in comments.
    return HABITS.filter(
      ({ applies, words }) => applies(path) && words.test(words.source.startsWith('@') ? text : code),
    ).map(({ fault }) => `${path} ${fault}`);
  });
}
