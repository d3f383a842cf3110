/** The data directory: who may open it, and what it says when it cannot be opened. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { DataDirectoryError, type DataDirectoryErrorCode } from '../../../src/backends/local/directory.ts';
import { openLocalBackends } from '../../../src/backends/local/local-backends.ts';
import { temporaryBackends, temporaryDirectory } from '../../support/local-backends.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const WRITER = new URL('../../support/endless-writer.ts', import.meta.url).pathname;

test('Only the owner can read what is in the directory', async () => {
  await using temporary = await temporaryBackends();
  await temporary.backends.objects.put('a', Buffer.from('x'), { expiry: temporary.clock.now() + 1000 });
  const names = await readdir(temporary.directory, { recursive: true });
  assert.ok(['master.key', 'objects.sqlite-wal', 'messages/00000001.log'].every((name) => names.includes(name)));
  for (const name of names) {
    const mode = (await stat(join(temporary.directory, name))).mode & 0o777;
    assert.equal(mode, name === 'messages' ? 0o700 : 0o600, name);
  }
});

test('A second gateway on the directory is refused, also by another path, and the first goes on', async () => {
  await using temporary = await temporaryBackends();
  await assertRefused(temporary.directory, 'DATA_DIR_IN_USE', /Another gateway is running/);
  await using elsewhere = await temporaryDirectory();
  await symlink(temporary.directory, join(elsewhere.path, 'link'));
  await assertRefused(join(elsewhere.path, 'link'), 'DATA_DIR_IN_USE', /Another gateway is running/);
  await temporary.backends.check();
});

test('A gateway in another process is noticed, and after kill -9 its directory is free', async () => {
  await using directory = await temporaryDirectory();
  const child = spawn(process.execPath, [WRITER, directory.path, 'run'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  await assertRefused(directory.path, 'DATA_DIR_IN_USE', /Another gateway is running/);
  child.kill('SIGKILL');
  child.stdout.resume();
  await once(child, 'close');
  await using backends = await open(directory.path);
  await backends.check();
});

test('A closed directory can be opened again, with its secrets', async () => {
  await using directory = await temporaryDirectory();
  let wrapped: Buffer;
  let reference: string;
  {
    await using backends = await open(directory.path);
    wrapped = await backends.wrapping.wrap(Buffer.from('secret'), 'context');
    reference = (await backends.identityKeys.create()).reference;
  }
  await using backends = await open(directory.path);
  assert.equal((await backends.wrapping.unwrap(wrapped, 'context')).toString(), 'secret');
  assert.equal((await backends.identityKeys.open(reference)).reference, reference);
});

test('No private key lies in the directory unencrypted', async () => {
  await using directory = await temporaryDirectory();
  {
    await using backends = await open(directory.path);
    await backends.identityKeys.create();
  }
  // What every PKCS#8 private key of this kind begins with after its length: version and rsaEncryption.
  const pkcs8 = Buffer.from('020100300d06092a864886f70d0101010500', 'hex');
  for (const name of await filesIn(directory.path)) {
    const content = await readFile(join(directory.path, name));
    assert.ok(!content.includes(pkcs8), name);
    assert.ok(!content.includes(pkcs8.toString('base64').slice(0, 20)), name);
  }
});

const faults: readonly [string, DataDirectoryErrorCode, RegExp, (path: string) => Promise<unknown>][] = [
  ['whose key is missing', 'DATA_DIR_KEY_MISSING', /master\.key is missing/, (path) => rm(join(path, 'master.key'))],
  [
    'with the key of another',
    'DATA_DIR_KEY_WRONG',
    /not the key/,
    (path) => writeFile(join(path, 'master.key'), `${randomBytes(32).toString('hex')}\n`),
  ],
  [
    'with a damaged key',
    'DATA_DIR_KEY_WRONG',
    /64 hexadecimal digits/,
    (path) => writeFile(join(path, 'master.key'), 'short'),
  ],
  ['whose key others can read', 'DATA_DIR_KEY_EXPOSED', /chmod 600/, (path) => chmod(join(path, 'master.key'), 0o640)],
  [
    'of a later format',
    'DATA_DIR_FORMAT_UNKNOWN',
    /has format 3; this program reads formats 1 and 2/,
    async (path) => {
      const file = join(path, 'format.json');
      await writeFile(file, (await readFile(file, 'utf8')).replace('"format":2', '"format":3'));
    },
  ],
  [
    'with a damaged format file',
    'DATA_DIR_FORMAT_UNKNOWN',
    /format\.json is damaged/,
    (path) => writeFile(join(path, 'format.json'), '{"form'),
  ],
  ['without its format file', 'DATA_DIR_FORMAT_UNKNOWN', /no .*format\.json/, (path) => rm(join(path, 'format.json'))],
  [
    'without one of its stores',
    'DATA_DIR_INCOMPLETE',
    /objects\.sqlite is missing/,
    (path) => rm(join(path, 'objects.sqlite')),
  ],
  [
    'without its log of messages',
    'DATA_DIR_INCOMPLETE',
    /messages is missing/,
    (path) => rm(join(path, 'messages'), { recursive: true }),
  ],
];

for (const [what, code, message, spoil] of faults) {
  test(`A directory ${what} is refused, and opens once mended`, async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'data');
    await (await open(path))[Symbol.asyncDispose]();
    const saved = new Map<string, Buffer>();
    for (const name of await filesIn(path)) {
      saved.set(name, await readFile(join(path, name)));
    }
    await spoil(path);
    await assertRefused(path, code, message);
    await mkdir(join(path, 'messages'), { recursive: true });
    for (const [name, content] of saved) {
      await writeFile(join(path, name), content, { mode: 0o600 });
      await chmod(join(path, name), 0o600);
    }
    await using backends = await open(path);
    await backends.check();
  });
}

test('A file in place of the directory is refused', async () => {
  await using directory = await temporaryDirectory();
  const path = join(directory.path, 'file');
  await writeFile(path, '');
  await assertRefused(path, 'DATA_DIR_UNUSABLE', /cannot be used/);
});

test('A first start that was cut short between key and format file is taken up', async () => {
  await using directory = await temporaryDirectory();
  await (await open(directory.path))[Symbol.asyncDispose]();
  await rm(join(directory.path, 'format.json'));
  for (const name of ['objects.sqlite', 'records.sqlite']) {
    await rename(join(directory.path, name), join(directory.path, `${name}.old`));
    await writeFile(join(directory.path, name), '');
  }
  await using backends = await open(directory.path);
  await backends.check();
});

async function filesIn(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).filter((name) => name !== 'messages');
}

async function assertRefused(path: string, code: DataDirectoryErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(open(path), (error) => {
    assert.ok(error instanceof DataDirectoryError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

function open(path: string) {
  return openLocalBackends({ directory: path, clock: new ManualClock(), random: randomBytes });
}
