/** Backups as operators make, verify and restore them, by commands. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { promisify } from 'node:util';
import { openLocalBackends } from '../../src/backends/local/local-backends.ts';
import { restoreGateway } from '../../src/compose/backup.ts';
import { openPlace } from '../../src/compose/backup-place.ts';
import { readConfig } from '../../src/config.ts';
import { createLogger } from '../../src/log.ts';
import { machineClock, machineRandom } from '../../src/machine.ts';
import { startGcsEmulator } from '../emulators/gcs/gcs-emulator.ts';
import { type BackupAnswer, fillDirectory, openVault, type RestoreAnswer, startCommand } from '../support/backups.ts';
import { projectRoot, startGateway } from '../support/gateway.ts';
import { OfficialPrivateGateway } from '../support/official-client.ts';

const execute = promisify(execFile);

async function lastBackup(directory: string): Promise<unknown> {
  await using backends = await openLocalBackends({ directory, clock: machineClock, random: machineRandom });
  return (await backends.records.get('configuration', 'last-backup'))?.fields;
}

function modeOf(file: string): number {
  return statSync(file).mode & 0o777;
}

suite('relay-gateway backup', () => {
  test('backs up beside the gateway that runs, which then knows when; and where none runs', async () => {
    using vault = await openVault();
    const directory = vault.file('data');
    const file = vault.file('a.backup');
    {
      await using gateway = await startGateway({ directory });
      await OfficialPrivateGateway.register(gateway.poweb);
      const age = async () => {
        const text = await (await fetch(`${gateway.ops}/metrics`)).text();
        return /^relay_gateway_backup_age_seconds (\S+)$/m.exec(text)?.[1];
      };
      assert.equal(await age(), undefined);
      const { counts, time, octets } = await vault.ask<BackupAnswer>(['backup', '--to', file], { DATA_DIR: directory });
      assert.equal(counts['private-gateways'], 1);
      assert.equal(counts['identity-keys'], 1);
      assert.equal(statSync(file).size, octets);
      const seconds = Number(await age());
      assert.ok(seconds >= 0 && seconds <= (Date.now() - Date.parse(time)) / 1000, `${seconds}`);
      assert.equal(modeOf(file), 0o600);
      const found = await vault.ask<RestoreAnswer>(['backup', 'verify', file, '--recovery-key', vault.keyFile]);
      assert.equal(found.nodeId, gateway.nodeId);
      assert.deepEqual(found.counts, counts);
      await gateway[Symbol.asyncDispose]();
      const noted = (await lastBackup(directory)) as { time: number };
      assert.equal(noted.time, Date.parse(time));
    }
    // Once more, in place of the first.
    const { id, time } = await vault.ask<BackupAnswer>(['backup', '--to', file], { DATA_DIR: directory });
    const found = await vault.ask<RestoreAnswer>(['backup', 'verify', file, '--recovery-key', vault.keyFile]);
    assert.equal(found.id, id);
    assert.equal(((await lastBackup(directory)) as { time: number }).time, Date.parse(time));
    assert.deepEqual(readdirSync(vault.folder).sort(), ['a.backup', 'data', 'recovery.key']);
  });

  test('is told to be missing as long as there is none, where there should be: as old as the key that would be lost', async () => {
    using vault = await openVault();
    const begun = Date.now();
    await using gateway = await startGateway({ environment: { RECOVERY_PUBLIC_KEY: vault.key.publicHalf } });
    const text = await (await fetch(`${gateway.ops}/metrics`)).text();
    const seconds = Number(/^relay_gateway_backup_age_seconds (\S+)$/m.exec(text)?.[1]);
    assert.ok(seconds >= 0 && seconds <= (Date.now() - begun) / 1000, `${seconds}`);
  });

  test('gives backups in a folder names that tell them apart', async () => {
    using vault = await openVault();
    const directory = await fillDirectory(vault, 'data');
    const { place } = await vault.ask<BackupAnswer>(['backup', '--to', `${vault.file('backups')}/`], {
      DATA_DIR: directory,
    });
    assert.match(path.basename(place), /^gateway\.test-\d{8}T\d{6}Z\.backup$/);
    assert.equal(path.dirname(place), vault.file('backups'));
    assert.ok(existsSync(place));
  });

  test('fails with a code and one line, and leaves nothing behind', async () => {
    using vault = await openVault();
    const nowhere = await vault.run(['backup', '--to', vault.file('a')], { DATA_DIR: vault.file('nowhere') });
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /There is no gateway in data directory/);
    const directory = await fillDirectory(vault, 'data');
    const unwritable = await vault.run(['backup', '--to', vault.file('no/such/folder')], { DATA_DIR: directory });
    assert.equal(unwritable.code, 1);
    assert.match(unwritable.stderr, /cannot be used: it is not there/);
    const keyless = await vault.run(['backup', '--to', vault.file('a')], {
      ...{ DATA_DIR: directory, RECOVERY_PUBLIC_KEY: '' },
    });
    assert.equal(keyless.code, 2);
    assert.match(keyless.stderr, /RECOVERY_PUBLIC_KEY must be set/);
    const secret = await vault.run(['backup', '--to', vault.file('a')], {
      ...{ DATA_DIR: directory, RECOVERY_PUBLIC_KEY: vault.key.privateHalf },
    });
    assert.equal(secret.code, 2);
    assert.ok(!secret.stderr.includes(vault.key.privateHalf));
    assert.equal((await vault.run(['backup'], { DATA_DIR: directory })).code, 2);
    const nameless = await vault.run(['backup', '--to', vault.file('a')], {
      DATA_DIR: directory,
      INTERNET_ADDRESS: '',
    });
    assert.equal(nameless.code, 2);
    assert.match(nameless.stderr, /INTERNET_ADDRESS must be set/);
    assert.deepEqual(readdirSync(vault.folder).sort(), ['data', 'recovery.key']);
  });

  test('exits with 1 when a record is damaged, having backed up the others', async () => {
    using vault = await openVault();
    const directory = await fillDirectory(vault, 'data', 10);
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(path.join(directory, 'records.sqlite'));
    database.exec("UPDATE records SET checksum = 0 WHERE kind = 'sent-parcels'");
    const damaged = Number(database.prepare('SELECT changes() AS damaged').get()?.['damaged']);
    database.close();
    assert.ok(damaged > 0);
    const { code, stdout } = await vault.run(['backup', '--to', vault.file('a')], { DATA_DIR: directory });
    assert.equal(code, 1);
    assert.match(stdout, new RegExp(`${damaged} damaged records are not in it: run relay-gateway store verify`));
    assert.equal(await lastBackup(directory), undefined);
  });

  test('to Cloud Storage is there when it is whole, and comes back from there', async () => {
    using vault = await openVault();
    await using emulator = await startGcsEmulator({ bucket: 'vault' });
    const environment = { DATA_DIR: await fillDirectory(vault, 'data', 3000), STORAGE_EMULATOR_HOST: emulator.url };
    const place = 'gs://vault/nightly/last.backup';

    // Killed when all was sent and nothing answered: there is none, and the next one is.
    const hold = emulator.faults.hold('objects.insert');
    const killed = startCommand(vault, ['backup', '--to', place], environment);
    await hold.reached;
    killed.kill('SIGKILL');
    await once(killed, 'close');
    hold.release();
    assert.equal(emulator.bucket('vault').size, 0);

    const { records } = await vault.ask<BackupAnswer>(['backup', '--to', place], environment);
    assert.ok(records > 3000);
    const { place: named } = await vault.ask<BackupAnswer>(['backup', '--to', 'gs://vault/nightly/'], environment);
    assert.match(named, /^gs:\/\/vault\/nightly\/gateway\.test-.*\.backup$/);
    const restored = await vault.ask<RestoreAnswer>(['restore', '--from', place, '--recovery-key', vault.keyFile], {
      ...{ ...environment, DATA_DIR: vault.file('new') },
    });
    assert.equal(restored.records, records);
    const missing = await vault.run(
      ['backup', 'verify', 'gs://vault/none', '--recovery-key', vault.keyFile],
      environment,
    );
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /could not read gs:\/\/vault\/none/);
  });
});

suite('relay-gateway restore', () => {
  test('refuses a directory that is in use, one that was, another gateway, and the wrong key', async () => {
    using vault = await openVault();
    using stranger = await openVault();
    const file = vault.file('a.backup');
    const directory = vault.file('data');
    const restore = async (environment: Record<string, string>, from = file, key = vault.key) => {
      const logger = createLogger('silent', { write: () => undefined });
      const place = await openPlace(from);
      await restoreGateway(readConfig(environment), { place, key, clock: machineClock, logger, onProgress: () => {} });
    };
    {
      await using _gateway = await startGateway({ directory });
      await vault.ask(['backup', '--to', file], { DATA_DIR: directory });
      await assert.rejects(restore({ DATA_DIR: directory }), { code: 'DATA_DIR_IN_USE' });
    }
    const { code, stderr } = await vault.run(['restore', '--from', file, '--recovery-key', vault.keyFile], {
      DATA_DIR: directory,
    });
    assert.equal(code, 1);
    assert.match(stderr, /onto empty stores only, and there is the record identity-keys/);
    const other = await fillDirectory(vault, 'other');
    await assert.rejects(restore({ DATA_DIR: other }), { code: 'DATA_DIR_KEY_WRONG' });

    const empty = { DATA_DIR: vault.file('empty') };
    await assert.rejects(restore({ ...empty, INTERNET_ADDRESS: 'other.example.com' }), { code: 'BACKUP_UNSUITABLE' });
    await assert.rejects(restore(empty, file, stranger.key), { code: 'RECOVERY_KEY_WRONG' });
    await assert.rejects(restore(empty, vault.file('none')), { code: 'PLACE_UNUSABLE' });
    writeFileSync(vault.file('cut.backup'), readFileSync(file).subarray(0, 200));
    await assert.rejects(restore(empty, vault.file('cut.backup')), { code: 'BACKUP_DAMAGED' });
    assert.ok(!existsSync(empty.DATA_DIR), 'nothing is made for a backup that cannot be read');
    assert.equal((await vault.run(['restore', '--from', file], empty)).code, 2);
  });
});

suite('The Internet address of a backup', () => {
  test('is that of the gateway, which verify compares where it knows it', async () => {
    using vault = await openVault();
    const file = vault.file('a.backup');
    const INTERNET_ADDRESS = 'gw.example.org';
    const DATA_DIR = await fillDirectory(vault, 'data');
    await vault.ask(['backup', '--to', file], { DATA_DIR, INTERNET_ADDRESS });
    const verify = ['backup', 'verify', file, '--recovery-key', vault.keyFile];
    const other = await vault.run(verify, { INTERNET_ADDRESS: 'other.example.org' });
    assert.equal(other.code, 1);
    assert.match(other.stderr, /This is a backup of gw\.example\.org, and INTERNET_ADDRESS is other\.example\.org/);
    const anywhere = await vault.ask<{ internetAddress: string }>(verify, { INTERNET_ADDRESS: '' });
    assert.equal(anywhere.internetAddress, INTERNET_ADDRESS);

    const restore = ['restore', '--from', file, '--recovery-key', vault.keyFile];
    const nameless = await vault.run(restore, { DATA_DIR: vault.file('new'), INTERNET_ADDRESS: '' });
    assert.equal(nameless.code, 2);
    assert.match(nameless.stderr, /INTERNET_ADDRESS must be set/);
    const homeless = await vault.run(restore, { INTERNET_ADDRESS });
    assert.equal(homeless.code, 2);
    assert.match(homeless.stderr, /DATA_DIR must be set/);
    assert.ok(!existsSync(vault.file('new')));
    await vault.ask(restore, { DATA_DIR: vault.file('new'), INTERNET_ADDRESS });
  });
});

test('A backup, its key, and all shares of that can come by standard input, but one thing at a time', async () => {
  using vault = await openVault();
  const file = vault.file('a.backup');
  await vault.ask(['backup', '--to', file], { DATA_DIR: await fillDirectory(vault, 'data') });
  const shares = vault.file('shares');
  await vault.ask(['recovery-key', 'split', vault.keyFile, '--shares', '2', '--needed', '2', '--out', shares]);
  const environment = { PATH: process.env['PATH'], DATA_DIR: vault.file('new'), INTERNET_ADDRESS: 'gateway.test' };
  const shell = (script: string) =>
    execute('/bin/sh', ['-c', script, process.execPath, 'bin/relay-gateway.js', vault.folder], {
      ...{ cwd: projectRoot, env: environment },
    });
  const cleartext = vault.key.privateHalf;
  const nodeIds = await Promise.all(
    [
      '"$0" "$1" backup verify --json "$2/a.backup" --recovery-key - < "$2/recovery.key"',
      '"$0" "$1" backup verify --json - --recovery-key "$2/recovery.key" < "$2/a.backup"',
      'cat "$2"/shares/* | "$0" "$1" restore --json --from "$2/a.backup" --share -',
    ].map(async (script) => {
      const { stdout, stderr } = await shell(script);
      assert.ok(!`${stdout}${stderr}`.includes(cleartext));
      return (JSON.parse(stdout) as RestoreAnswer).nodeId;
    }),
  );
  assert.match(nodeIds[0] ?? '', /^0[0-9a-f]{64}$/);
  assert.equal(new Set(nodeIds).size, 1);
  await assert.rejects(shell('"$0" "$1" restore --from - --recovery-key - < "$2/recovery.key"'), { code: 2 });
  await assert.rejects(shell('yes | "$0" "$1" backup verify "$2/a.backup" --recovery-key -'), /too large to be a key/);
  const nowhere = await vault.run(['backup', '--to', '-'], { DATA_DIR: vault.file('data') });
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /A backup goes to a file/);
});

suite('relay-gateway recovery-key', () => {
  test('makes a key once, and gives it back from its shares, with nothing secret printed', async () => {
    using vault = await openVault();
    const made = vault.file('made.key');
    const { publicKey } = await vault.ask<{ publicKey: string }>(['recovery-key', 'new', '--out', made]);
    const text = readFileSync(made, 'utf8');
    assert.ok(text.includes(`# public key: ${publicKey}\n`));
    assert.equal(modeOf(made), 0o600);
    const again = await vault.run(['recovery-key', 'new', '--out', made]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /there is one already/);
    assert.equal(readFileSync(made, 'utf8'), text);

    const shares = vault.file('shares');
    const split = ['recovery-key', 'split', made, '--shares', '3', '--needed', '2', '--out', shares];
    const { files } = await vault.ask<{ files: string[] }>(split);
    assert.equal(files.length, 3);
    assert.equal(modeOf(shares), 0o700);
    assert.ok(files.every((file) => modeOf(file) === 0o600));
    const before = files.map((file) => readFileSync(file, 'utf8'));
    assert.equal((await vault.run(split)).code, 1);
    assert.deepEqual(
      files.map((file) => readFileSync(file, 'utf8')),
      before,
    );

    const [first = '', , third = ''] = files;
    const joined = vault.file('joined.key');
    const join = await vault.run(['recovery-key', 'join', third, first, '--out', joined]);
    assert.equal(join.code, 0, join.stderr);
    const secret = text.split('\n')[2] ?? '';
    assert.ok(readFileSync(joined, 'utf8').includes(secret));
    assert.ok(secret.startsWith('AGE-SECRET-KEY-1') && !join.stdout.includes(secret));
    const few = await vault.run(['recovery-key', 'join', third, '--out', vault.file('few.key')]);
    assert.equal(few.code, 1);
    assert.match(few.stderr, /2 shares are needed, and 1 were given/);
    assert.ok(!existsSync(vault.file('few.key')));
    for (const wrong of [
      ['--shares', '1', '--needed', '2'],
      ['--shares', '2', '--needed', '3'],
      ['--shares', '256', '--needed', '2'],
    ]) {
      assert.equal((await vault.run(['recovery-key', 'split', made, ...wrong, '--out', vault.file('x')])).code, 2);
    }
  });
});

test('the examples that the help of backup, restore and recovery-key shows work, one after another', async () => {
  using vault = await openVault();
  const folder = vault.file('work');
  mkdirSync(path.join(folder, 'bin'), { recursive: true });
  const program = `#!/bin/sh\nexec '${process.execPath}' '${projectRoot}/src/cli/main.ts' "$@"\n`;
  writeFileSync(path.join(folder, 'bin/relay-gateway'), program, { mode: 0o755 });
  const environment: Record<string, string> = {
    PATH: `${path.join(folder, 'bin')}:${process.env['PATH']}`,
    DATA_DIR: 'data',
    INTERNET_ADDRESS: 'gateway.example.org',
  };
  const shell = (command: string) => execute('/bin/sh', ['-c', command], { cwd: folder, env: environment });
  const example = async (...command: string[]) => {
    const { stdout } = await vault.run([...command, '--help']);
    const line = /\nExample:\n +(relay-gateway [^\n]+)/.exec(stdout)?.[1];
    assert.ok(line, `${command.join(' ')} --help shows an example`);
    await shell(line);
  };
  await example('recovery-key', 'new');
  const publicHalf = /# public key: (\S+)/.exec(readFileSync(path.join(folder, 'recovery.key'), 'utf8'))?.[1];
  environment['RECOVERY_PUBLIC_KEY'] = `${publicHalf}`;
  await example('recovery-key', 'split');
  await example('recovery-key', 'join');
  await shell('relay-gateway identity');
  await example('backup');
  await shell('cp backups/*.backup last.backup');
  await example('backup', 'verify');
  environment['DATA_DIR'] = 'new';
  await example('restore');
  await shell('relay-gateway identity');
});
