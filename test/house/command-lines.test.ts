/** Each line of the documents that starts with `relay-gateway` is one that the program's own parser takes. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { type Command, CommanderError } from 'commander';
import { newProgram } from '../../src/cli/program.ts';
import { projectRoot } from '../support/gateway.ts';

interface CommandLine {
  readonly words: readonly string[];
  /** To be copied as it stands, not only a command's name in a sentence. */
  readonly isWhole: boolean;
}

/** Where a command may start: in a line, after a prompt, variables, or what runs it. No command has capitals or figures. */
const START = /(?:^|\$ |[A-Z]=\S* |sudo |-- |[|&] |\bbin\/)relay-gateway(?:\.js)? +([a-z-].*)$/;

/** Where the shell takes over again, or a comment begins. */
const END = / (?:[|<>&;]|\d>|#).*$|[;)]$/;

/** Of what a sentence leaves out nothing is said. */
const INCOMPLETE = new Set([
  'commander.missingArgument',
  'commander.missingMandatoryOptionValue',
  'commander.optionMissingArgument',
  'commander.help',
]);

/** Those of a text in Markdown. */
function commandLines(text: string): CommandLine[] {
  const blocks = [...text.matchAll(/^ *```\w*\n(.*?)^ *```$/gms)].flatMap(([, block = '']) =>
    block.replaceAll(/\\\n\s*/g, ' ').split('\n'),
  );
  const spans = [...text.replaceAll(/^ *```\w*\n.*?^ *```$/gms, '').matchAll(/`([^`]+)`/g)].map(([, span = '']) =>
    span.replaceAll(/\s+/g, ' '),
  );
  return [
    ...blocks.map((line) => [line.trim(), true] as const),
    ...spans.map((span) => [span, false] as const),
  ].flatMap(([line, isWhole]) => {
    const [, rest] = START.exec(line) ?? [];
    return rest === undefined ? [] : [{ words: wordsOf(rest.replace(END, '')), isWhole }];
  });
}

/** As a shell takes them apart. */
function wordsOf(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)]
    .map(([, double, single, plain]) => double ?? single ?? plain ?? '')
    .filter((word) => word !== '…');
}

/** Why the program does not take a line; undefined where it does. */
async function faultOf({ words, isWhole }: CommandLine): Promise<string | undefined> {
  const program = await newProgram({ environment: {}, version: '0', word: words[0] ?? '' });
  disarm(program);
  try {
    await program.parseAsync([...words], { from: 'user' });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      throw error;
    }
    const isFine = error.exitCode === 0 || (!isWhole && INCOMPLETE.has(error.code));
    return isFine ? undefined : `relay-gateway ${words.join(' ')}: ${error.message}`;
  }
}

/** Nothing is run and nothing said; and any value is fine, since documents have placeholders. */
function disarm(command: Command): void {
  command.exitOverride().configureOutput({ writeOut: () => undefined, writeErr: () => undefined });
  for (const part of [...command.options, ...command.registeredArguments]) {
    part.argParser((value: string) => value);
  }
  for (const sub of command.commands) {
    disarm(sub);
    sub.action(() => undefined);
  }
}

describe('Command lines', () => {
  const files = globSync(['README.md', 'docs/**/*.md'], { cwd: projectRoot });
  const lines = files.flatMap((file) => commandLines(readFileSync(path.join(projectRoot, file), 'utf8')));

  test('of the documents are many, also of those that are to be copied', () => {
    assert.ok(lines.length > 80, `${lines.length}`);
    assert.ok(lines.filter(({ isWhole }) => isWhole).length > 30);
    const commands = new Set(lines.map(({ words }) => words[0]));
    for (const command of ['backup', 'restore', 'recovery-key', 'quickstart', 'provision', 'ping', 'recover']) {
      assert.ok(commands.has(command), command);
    }
  });

  test('of the documents are taken by the program as they stand', async () => {
    const faults = await Promise.all(lines.map(faultOf));
    assert.deepEqual(
      faults.filter((fault) => fault !== undefined),
      [],
    );
  });

  test('that it does not take are found out', async () => {
    const text = [
      'See `relay-gateway backup`, `relay-gateway restore`, and `relay-gateway peers`.',
      '`relay-gateway backup --onto a`, `relay-gateway back up`, `systemctl restart relay-gateway`',
      '```',
      'cat shares | sudo relay-gateway restore --from a \\',
      '  --share - --quick',
      '17 3 * * * root  A=b /usr/local/bin/relay-gateway backup --to a --yaml >> log 2>&1',
      'relay-gateway restore --recovery-key - < recovery.key',
      'relay-gateway identity --json extra   # and a comment',
      'kubectl exec pod -- relay-gateway peers allow ID',
      '```',
    ].join('\n');
    const found = commandLines(text);
    assert.equal(found.length, 10);
    assert.deepEqual(
      (await Promise.all(found.map(faultOf))).map((fault) => fault?.replaceAll(/^.*?: error: |\n.*$/g, '')),
      [
        "unknown option '--quick'",
        "unknown option '--yaml'",
        "required option '--from <place>' not specified",
        "too many arguments for 'identity'. Expected 0 arguments but got 1.",
        undefined,
        undefined,
        undefined,
        undefined,
        "unknown option '--onto'",
        "unknown command 'back'",
      ],
    );
  });
});
