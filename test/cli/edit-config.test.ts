/** `relay-gateway config --edit`, by editors that are small programs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { suite, type TestContext, test } from 'node:test';
import { consequenceOf } from '../../src/config/restarts.ts';
import { projectRoot, temporaryDirectory } from '../support/gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

const BEFORE = 'LOG_LEVEL=info\nREDIS_URL=redis://:secret@127.0.0.1:6379/0\n';

interface Editing {
  readonly folder: string;
  readonly file: string;
  /** @param editor a shell command, to which the draft's path is added; @param answers what is typed */
  edit(editor: string, answers?: string): Promise<{ code: number; stdout: string; stderr: string }>;
}

function editing(context: TestContext, before: string | null = BEFORE): Editing {
  const folder = temporaryDirectory();
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'gateway.env');
  if (before !== null) {
    writeFileSync(file, before, { mode: 0o640 });
    chmodSync(file, 0o640);
  }
  return {
    folder,
    file,
    async edit(editor, answers = '') {
      const program = path.join(projectRoot, 'src/cli/main.ts');
      const child = spawn(process.execPath, [program, 'config', '--edit', '--file', 'gateway.env'], {
        cwd: folder,
        env: { PATH: process.env['PATH'], EDITOR: editor, TMPDIR: folder },
      });
      child.stdin.end(answers);
      const [stdout, stderr, [code]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'exit') as Promise<[number]>,
      ]);
      return { code, stdout, stderr };
    },
  };
}

/** An editor that puts a line at the end. */
const adding = (line: string) => `sh -c 'echo "${line}" >> "$1"' editor`;

suite('Editing the configuration', () => {
  test('writes what is right, keeps what was there, and says what changed and restarts', async (context) => {
    const { folder, file, edit } = editing(context);
    const { code, stdout } = await edit(adding('CARGO_SIZE=2MiB'));
    assert.equal(code, 0);
    assert.equal(readFileSync(file, 'utf8'), `${BEFORE}CARGO_SIZE=2MiB\n`);
    assert.equal(readFileSync(`${file}.old`, 'utf8'), BEFORE);
    assert.equal(statSync(file).mode & 0o777, 0o640);
    assert.equal(statSync(`${file}.old`).mode & 0o777, 0o640);
    assert.match(stdout, /CARGO_SIZE +\(none\) -> 2MiB/);
    assert.match(stdout, /Restart whatever runs cogrpc:/);
    assert.deepEqual(readdirSync(folder).sort(), ['gateway.env', 'gateway.env.old']);
  });

  test('never shows a secret, and warns of what leads elsewhere', async (context) => {
    const { edit } = editing(context);
    const { code, stdout, stderr } = await edit(
      `sh -c 'printf "REDIS_URL=redis://:other@127.0.0.1/\\nDATA_DIR=/elsewhere\\nMADE_UP=1\\n" > "$1"' editor`,
    );
    assert.equal(code, 0, stderr);
    assert.match(stdout, /REDIS_URL +set -> set/);
    assert.doesNotMatch(stdout + stderr, /secret|other@/);
    assert.match(stdout, /Mind: DATA_DIR leads to what is kept/);
    assert.match(stdout, /MADE_UP +\(none\) -> 1 +no setting of the gateway/);
    assert.match(stdout, /Restart whatever runs poweb, collection, pohttp, cogrpc, worker, ops:/);
  });

  test('writes nothing that is wrong: all faults are told, and the editor comes back', async (context) => {
    const { folder, file, edit } = editing(context);
    // Wrong the first time, right the second.
    const editor = `sh -c 'if grep -q POWEB "$1"; then echo LOG_LEVEL=debug > "$1"; else printf "POWEB_PORT=x\\nnonsense\\nCARGO_SIZE=1\\n" >> "$1"; fi' editor`;
    const { code, stderr, stdout } = await edit(editor, 'y\n');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /Line 4 is not NAME=value[\s\S]*POWEB_PORT must[\s\S]*CARGO_SIZE must/);
    assert.equal(readFileSync(file, 'utf8'), 'LOG_LEVEL=debug\n');
    assert.match(stdout, /LOG_LEVEL +info -> debug/);
    for (const answers of ['n\n', '']) {
      const given = await edit(adding('POWEB_PORT=x'), answers);
      assert.equal(given.code, 2);
      assert.match(given.stderr, /Nothing was written/);
      assert.equal(readFileSync(file, 'utf8'), 'LOG_LEVEL=debug\n');
    }
    assert.deepEqual(readdirSync(folder).sort(), ['gateway.env', 'gateway.env.old']);
  });

  test('writes nothing when the editor fails, nothing is changed, or somebody else was faster', async (context) => {
    const { file, edit } = editing(context);
    const failed = await edit('false');
    assert.equal(failed.code, 1);
    assert.match(failed.stderr, /editor \(false\) ended with 1/);
    assert.match((await edit('true')).stdout, /Nothing was changed/);
    assert.equal(existsSync(`${file}.old`), false);
    const late = await edit(`sh -c 'echo LOG_LEVEL=debug > "${file}"; echo LOG_LEVEL=warn > "$1"' editor`);
    assert.equal(late.code, 1);
    assert.match(late.stderr, /Somebody else has changed/);
    assert.equal(readFileSync(file, 'utf8'), 'LOG_LEVEL=debug\n');
  });

  test('makes a file that is not there for its owner alone, and follows a link to one that is', async (context) => {
    const { folder, file, edit } = editing(context, null);
    const { code, stdout } = await edit(adding('LOG_LEVEL=debug'));
    assert.equal(code, 0);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.doesNotMatch(stdout, /\.old/);
    const real = path.join(folder, 'real.env');
    rmSync(file);
    writeFileSync(real, BEFORE);
    symlinkSync(real, file);
    await edit(adding('LOG_LEVEL=debug').replace('>>', '>'));
    assert.equal(readFileSync(real, 'utf8'), 'LOG_LEVEL=debug\n');
    assert.equal(readFileSync(`${real}.old`, 'utf8'), BEFORE);
  });

  // In the editor; when it asks whether to edit again; and with the old file half copied: a pipe waits for its reader.
  const moments = {
    'in the editor': { editor: `sh -c 'echo MADE=1 >> "$1"; touch reached; exec sleep 60' editor` },
    'at its question': { editor: `sh -c 'echo POWEB_PORT=x >> "$1"; touch reached' editor` },
    'while it keeps what was there': {
      editor: `sh -c 'echo MADE=1 >> "$1"; mkfifo gateway.env.old; touch reached' editor`,
    },
  };
  for (const [moment, { editor }] of Object.entries(moments)) {
    test(`that is killed ${moment} leaves the file as it was, and is done when it is run again, and again`, async (context) => {
      const { folder, file, edit } = editing(context);
      const program = path.join(projectRoot, 'src/cli/main.ts');
      const child = spawn(process.execPath, [program, 'config', '--edit', '--file', 'gateway.env'], {
        cwd: folder,
        env: { PATH: process.env['PATH'], EDITOR: editor, TMPDIR: folder },
        stdio: ['pipe', 'ignore', 'ignore'],
        detached: true,
      });
      const ended = once(child, 'close');
      while (!existsSync(path.join(folder, 'reached'))) {
        assert.equal(child.exitCode, null, 'it ended before');
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      // With its editor, as a terminal does that goes.
      process.kill(-(child.pid as number), 'SIGKILL');
      assert.deepEqual(await ended, [null, 'SIGKILL']);
      assert.equal(readFileSync(file, 'utf8'), BEFORE);
      rmSync(`${file}.old`, { force: true });
      // What a kill leaves that comes before the file is renamed.
      writeFileSync(`${file}.new`, 'LOG_L');

      assert.equal((await edit(adding('CARGO_SIZE=2MiB'))).code, 0);
      assert.equal(readFileSync(file, 'utf8'), `${BEFORE}CARGO_SIZE=2MiB\n`);
      assert.match((await edit('true')).stdout, /Nothing was changed/);
      assert.equal(existsSync(`${file}.new`), false);
    });
  }

  test('is shown in the help as it was done here', async () => {
    const { stdout } = await runRelayGateway(['config', '--help']);
    assert.match(stdout, /\$ relay-gateway config --edit --file gateway\.env\n/);
  });

  test('knows the services of a setting, and of one that is none nothing', () => {
    assert.deepEqual(consequenceOf('CARGO_SIZE'), { services: ['cogrpc'], warning: undefined });
    assert.equal(consequenceOf('LOG_LEVEL')?.services.length, 6);
    assert.match(consequenceOf('INTERNET_ADDRESS')?.warning ?? '', /register again/);
    assert.equal(consequenceOf('HOME'), undefined);
  });
});
