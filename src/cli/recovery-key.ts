/** `relay-gateway recovery-key`: the key that opens backups. It is made, split and joined offline. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import type { RecoveryKey } from '../backup/recovery-key.ts';
import { machineClock, machineRandom } from '../machine.ts';
import { table } from './table.ts';

/** The largest key or share file that is read, in octets. */
const MOST_OCTETS = 64 * 1024;

/** In place of a file's name. */
export const STANDARD_INPUT = '-';

/** How commands that open a backup are given its key. */
export interface KeyOptions {
  readonly recoveryKey?: string;
  readonly share?: readonly string[];
}

/** The command, for the program to add to its own. */
export function recoveryKeyCommand(): Command {
  const command = new Command('recovery-key').description(
    'Make, split and join the key that opens backups: on a machine that is not the gateway.',
  );
  command
    .command('new')
    .description('Make a key. Its private half goes to a file; its public half is for RECOVERY_PUBLIC_KEY.')
    .requiredOption('--out <file>', 'where the private half goes; there must be no such file')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  relay-gateway recovery-key new --out recovery.key')
    .action(async ({ out, json }: { out: string; json?: true }) => {
      const { newRecoveryKey, writeKeyFile } = await import('../backup/recovery-key.ts');
      const { writeSecretFile } = await import('../backup/backup-file.ts');
      const key = await newRecoveryKey();
      await writeSecretFile(out, writeKeyFile(key, machineClock.now()));
      await tell(key, { file: out }, json);
    });
  command
    .command('split')
    .description('Split a key into shares, a file each, of which some give it back.')
    .argument('<file>', "the key's file")
    .requiredOption('--shares <n>', 'how many shares, up to 255', count)
    .requiredOption('--needed <k>', 'how many of them give the key back, from 2 up', count)
    .requiredOption('--out <folder>', 'where the shares go; there must be no such folder')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  relay-gateway recovery-key split recovery.key --shares 5 --needed 3 --out shares',
    )
    .action(split);
  command
    .command('join')
    .description('Give the key back from enough of its shares.')
    .argument('<shares...>', 'files of shares')
    .requiredOption('--out <file>', 'where the private half goes; there must be no such file')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  relay-gateway recovery-key join shares/*-1-of-5.share shares/*-3-of-5.share shares/*-4-of-5.share --out joined.key',
    )
    .action(async (shares: string[], { out, json }: { out: string; json?: true }) => {
      const { writeKeyFile } = await import('../backup/recovery-key.ts');
      const { writeSecretFile } = await import('../backup/backup-file.ts');
      const key = await readKey({ share: shares });
      await writeSecretFile(out, writeKeyFile(key, machineClock.now()));
      await tell(key, { file: out }, json);
    });
  return command;
}

/**
 * Reads the key that a command was given: its file, or enough shares.
 *
 * @throws BackupError RECOVERY_KEY_INVALID, SHARES_INSUFFICIENT; Error when a file cannot be read
 */
export async function readKey({ recoveryKey, share = [] }: KeyOptions): Promise<RecoveryKey> {
  if (recoveryKey !== undefined) {
    const { readKeyFile } = await import('../backup/recovery-key.ts');
    return readKeyFile(await readSmall(recoveryKey));
  }
  const { joinShares } = await import('../backup/key-shares.ts');
  return joinShares(await Promise.all(share.map(readSmall)));
}

/** Adds the options by which a command is given the key. */
export function withKeyOptions(command: Command): Command {
  return command
    .option('--recovery-key <file>', 'the recovery key; - reads standard input')
    .option('--share <files...>', 'or as many shares of it as are needed; - reads them all from standard input');
}

/**
 * Ends the command when it was given neither key nor shares, or both; or more than one thing by standard input.
 *
 * @param place of the backup, where there is one
 */
export function requireKeyOptions({ recoveryKey, share }: KeyOptions, command: Command, place?: string): void {
  const given = [place, recoveryKey, ...(share ?? [])].filter((name) => name === STANDARD_INPUT);
  if (given.length > 1) {
    command.error('error: only one thing can come by standard input (-)');
  }
  if ((recoveryKey === undefined) === (share === undefined)) {
    command.error('error: give either --recovery-key or --share');
  }
}

async function split(
  file: string,
  { shares, needed, out, json }: { shares: number; needed: number; out: string; json?: true },
  command: Command,
): Promise<void> {
  if (needed > shares) {
    command.error('error: --needed must not be more than --shares');
  }
  const { splitKey } = await import('../backup/key-shares.ts');
  const { fingerprintOf } = await import('../backup/recovery-key.ts');
  const { writeSecretFolder } = await import('../backup/backup-file.ts');
  const key = await readKey({ recoveryKey: file });
  const fingerprint = fingerprintOf(key.publicHalf);
  const texts = new Map(
    (await splitKey(key, { count: shares, needed }, machineRandom)).map((share, index) => [
      `${fingerprint}-${index + 1}-of-${shares}.share`,
      `# any ${needed} of ${shares} shares give the recovery key back\n${share}\n`,
    ]),
  );
  await writeSecretFolder(out, texts);
  await tell(key, { files: [...texts.keys()].map((name) => path.join(out, name)) }, json);
}

async function tell(
  { publicHalf }: RecoveryKey,
  places: { file: string } | { files: readonly string[] },
  json: true | undefined,
): Promise<void> {
  const { fingerprintOf } = await import('../backup/recovery-key.ts');
  const fingerprint = fingerprintOf(publicHalf);
  if (json) {
    console.log(JSON.stringify({ publicKey: publicHalf, fingerprint, ...places }, undefined, 2));
    return;
  }
  const files = 'file' in places ? [places.file] : places.files;
  console.log(
    table([
      ['RECOVERY_PUBLIC_KEY', publicHalf],
      ['Fingerprint', fingerprint],
      ...files.map((file) => ['Secret, keep offline', file]),
    ]),
  );
}

async function readSmall(file: string): Promise<string> {
  const text = file === STANDARD_INPUT ? await readInput() : await readFile(file, 'latin1');
  if (text.length > MOST_OCTETS) {
    throw new Error(`${file} is too large to be a key or a share`);
  }
  return text;
}

/** Not much more of it than is needed to see that it is too large. */
async function readInput(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin) {
    text += (chunk as Buffer).toString('latin1');
    if (text.length > MOST_OCTETS) {
      break;
    }
  }
  return text;
}

function count(text: string): number {
  const value = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (value < 2 || value > 255) {
    throw new InvalidArgumentError('It must be a whole number from 2 to 255.');
  }
  return value;
}
