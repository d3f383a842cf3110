/** `relay-gateway backup`: everything that a gateway needs to go on elsewhere, but for messages in transit. */
import { tmpdir } from 'node:os';
import { Command } from 'commander';
import type { BackupReport, RestoredGateway } from '../compose/backup.ts';
import { ConfigError, type Environment, readConfig } from '../config.ts';
import { machineClock } from '../machine.ts';
import { RecordBar } from './progress-bar.ts';
import { type KeyOptions, readKey, requireKeyOptions, withKeyOptions } from './recovery-key.ts';
import { table } from './table.ts';

const FAULT = 1;

/** The command, for the program to add to its own. */
export function backupCommand(environment: Environment): Command {
  const command = new Command('backup')
    .description(
      'Back up all records and keys, also while the gateway runs, encrypted to RECOVERY_PUBLIC_KEY. Parcels and cargo ' +
        'are not in a backup: they are in transit.',
    )
    .option('--to <place>', 'a file, a directory, gs://BUCKET/NAME or gs://BUCKET/FOLDER/')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  relay-gateway backup --to backups/\n\nExit codes: 0 all is in the backup, 1 it is not, 2 bad usage or configuration.',
    )
    .action(async ({ to, json }: { to?: string; json?: true }, self: Command) => {
      if (to === undefined) {
        self.error("error: required option '--to <place>' not specified");
      }
      await backUp(environment, to, json);
    });
  withKeyOptions(command.command('verify'))
    .description('Restore a backup onto stores that go again, count what is in it, and open its keys.')
    .argument('<place>', 'a file, gs://BUCKET/NAME, or - for standard input')
    .option('--scratch <directory>', 'where the stores are meanwhile, with all secrets in them', tmpdir())
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  relay-gateway backup verify last.backup --recovery-key recovery.key')
    .action((from: string, options: KeyOptions & { scratch: string }, self: Command) =>
      verify(environment, from, options, self),
    );
  return command;
}

async function backUp(environment: Environment, to: string, json: true | undefined): Promise<void> {
  const { makeBackup, noteSharedBackup } = await import('../compose/backup.ts');
  const { askGateway } = await import('./control.ts');
  const config = readConfig(environment);
  const recipient = config.recoveryPublicKey;
  if (recipient === undefined) {
    throw new ConfigError(['RECOVERY_PUBLIC_KEY must be set for backups: relay-gateway recovery-key new makes one']);
  }
  requireNamed(environment);
  const report = await withBar('Backing up', (onProgress) =>
    makeBackup(config, { to, recipient, clock: machineClock, onProgress }),
  );
  const { instant, records, octets, damaged } = report;
  if (damaged > 0) {
    process.exitCode = FAULT;
  } else {
    const note = { time: `${instant}`, records: `${records}`, octets: `${octets}` };
    // The backup is whole whatever becomes of this; without it the gateway takes the last one for older.
    const noting: Promise<unknown> =
      config.records === 'local'
        ? askGateway(environment, 'POST backup/done', note)
        : noteSharedBackup(config, note, machineClock);
    await noting.catch((error: Error) => {
      console.error(`The backup is whole, but when it was could not be noted: ${error.message}`);
    });
  }
  console.log(json ? JSON.stringify(forMachines(report), undefined, 2) : describe(report));
}

/**
 * A backup is of one Internet address, and is restored for that alone: the default would be found out on the day of need.
 *
 * @throws ConfigError
 */
export function requireNamed({ INTERNET_ADDRESS: address }: Environment): void {
  if (!address) {
    throw new ConfigError([
      'INTERNET_ADDRESS must be set, as the gateway has it: whatever is restored has that address',
    ]);
  }
}

async function verify(
  environment: Environment,
  from: string,
  { scratch, ...keys }: KeyOptions & { scratch: string },
  command: Command,
): Promise<void> {
  // Wherever it stands, the command above this one has it.
  const { json } = command.optsWithGlobals<{ json?: true }>();
  requireKeyOptions(keys, command, from);
  const { verifyBackup } = await import('../compose/backup.ts');
  const { openPlace } = await import('../compose/backup-place.ts');
  // Where it is not set, as on a machine of its own for this, people compare what is printed.
  const { INTERNET_ADDRESS: internetAddress } = environment;
  const key = await readKey(keys);
  const place = await openPlace(from);
  const found = await withBar('Verifying', (onProgress) =>
    verifyBackup({ place, key, folder: scratch, internetAddress, clock: machineClock, onProgress }),
  );
  console.log(json ? JSON.stringify(restoredForMachines(found), undefined, 2) : describeRestored(found));
}

/** Shows how far the work is. SIGINT and SIGTERM end it in order, so that what it has begun is taken away. */
export async function withBar<Result>(
  label: string,
  work: (onProgress: (records: number, total: number | undefined) => void) => Promise<Result>,
): Promise<Result & { readonly milliseconds: number }> {
  const interruption = new AbortController();
  const interrupt = () => interruption.abort(new Error('Interrupted'));
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  using bar = new RecordBar(label);
  try {
    const result = await work((records, total) => {
      interruption.signal.throwIfAborted();
      bar.advanceTo(records, total);
    });
    return { ...result, milliseconds: bar.duration };
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

type Timed<Report> = Report & { readonly milliseconds: number };

/** What a restored gateway is, as JSON: without its keys. */
export function restoredForMachines({ header, ...found }: Timed<RestoredGateway>): object {
  const { id, instant, internetAddress, keys } = header;
  return { id, time: new Date(instant).toISOString(), internetAddress, keys, ...found };
}

/** The same for people. */
export function describeRestored({ header, nodeId, counts, leftOut, milliseconds }: Timed<RestoredGateway>): string {
  return table([
    ['Internet address', header.internetAddress],
    ['Node id', nodeId ?? `its keys are elsewhere (KEYS=${header.keys})`],
    ['As of', new Date(header.instant).toISOString()],
    ...Object.entries(counts).map(([kind, count]) => [kind, `${count}`]),
    ['Left out', `${leftOut}, of messages in transit or expired`],
    ['Took', `${(milliseconds / 1000).toFixed(1)} s`],
  ]);
}

function forMachines({ instant, ...report }: Timed<BackupReport>): object {
  return { time: new Date(instant).toISOString(), ...report };
}

function describe({ place, instant, counts, octets, damaged, milliseconds }: Timed<BackupReport>): string {
  const lines = [
    table([
      ['Backup', place],
      ['As of', new Date(instant).toISOString()],
      ...Object.entries(counts).map(([kind, count]) => [kind, `${count}`]),
      ['Size', `${octets} octets`],
      ['Took', `${(milliseconds / 1000).toFixed(1)} s`],
    ]),
    'Parcels and cargo are not in it: they are in transit.',
  ];
  if (damaged > 0) {
    lines.push(`${damaged} damaged records are not in it: run relay-gateway store verify, and back up again`);
  }
  return lines.join('\n');
}
