/** `relay-gateway migrate mongo`: takes over what another implementation of an Internet gateway kept. */
import { Command } from 'commander';
import { pino } from 'pino';
import { type Environment, readConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import { machineClock } from '../machine.ts';
import type { MigrationReport } from '../migration/report.ts';
import { table } from './table.ts';

const FAULT = 1;

const STANDARD_ERROR = 2;

/** How often a person is told how far it is, in milliseconds. */
const PROGRESS_INTERVAL = 1000;

interface MigrateOptions {
  readonly bucket?: string;
  readonly sessionKey?: string;
  readonly dryRun?: true;
  readonly json?: true;
}

const HELP = `
Exports come from mongoexport, one for each collection, without --jsonArray. The gateway must not run meanwhile; run it
again as often as you like. Exits with 1 when something was skipped that may be missed.

Example:
  $ relay-gateway migrate mongo --dry-run old-gateway.ndjson`;

/** The command, for the program to add to its own. */
export function migrateCommand(environment: Environment): Command {
  const command = new Command('migrate').description('Take over what another implementation kept.');
  command
    .command('mongo')
    .description(
      "Read exports of the reference implementation's MongoDB into the records, so that its private gateways go on " +
        'without registering again.',
    )
    .argument('<file...>', 'NDJSON, in MongoDB Extended JSON')
    .option('--bucket <name>', 'move the parcels that wait in this bucket of Cloud Storage too')
    .option('--session-key <name>', "the key, in KMS_KEY_RING, that encrypts the old gateway's session keys")
    .option('--dry-run', 'say what would be taken and skipped, and do nothing')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(async (files: string[], options: MigrateOptions) => {
      const report = await migrate(environment, files, options);
      console.log(options.json ? JSON.stringify(report, undefined, 2) : describe(report));
      if (!report.isComplete) {
        process.exitCode = FAULT;
      }
    });
  return command;
}

async function migrate(environment: Environment, files: readonly string[], options: MigrateOptions) {
  const config = readConfig(environment);
  const logger = createLogger(config.logLevel, pino.destination({ dest: STANDARD_ERROR, sync: true }));
  const { migrateMongo } = await import('../compose/migrate.ts');
  let done = 0;
  const progress = setInterval(() => console.error(`... ${done} documents so far`), PROGRESS_INTERVAL);
  try {
    return await migrateMongo(config, {
      files,
      bucket: options.bucket,
      sessionKey: options.sessionKey,
      isDryRun: options.dryRun === true,
      clock: machineClock,
      logger,
      onProgress: () => done++,
    });
  } finally {
    clearInterval(progress);
  }
}

function describe({ isDryRun, nodeId, taken, present, skipped, remaining, isComplete }: MigrationReport): string {
  const kinds = [...new Set([...Object.keys(taken), ...Object.keys(present)])].sort();
  const rows = kinds.map((kind) => [
    kind,
    `${taken[kind] ?? 0} ${isDryRun ? 'would be taken' : 'taken'}`,
    `${present[kind] ?? 0} there before`,
  ]);
  const lines = skipped.flatMap(({ code, count, examples }) => [
    `Skipped ${count}: ${code}`,
    ...examples.map(({ file, line, object, reason }) => `  ${file}${line ? `:${line}` : `/${object}`}  ${reason}`),
    ...(count > examples.length ? ['  and more'] : []),
  ]);
  return [
    nodeId === undefined ? 'No identity was taken over' : `Node id  ${nodeId}`,
    ...(rows.length > 0 ? [table(rows)] : []),
    ...lines,
    remaining === undefined
      ? 'The old bucket was not looked at: --bucket moves what waits in it'
      : `Objects that remain in the old bucket: ${remaining}`,
    isComplete ? 'Nothing is missing' : 'Something was skipped that may be missed: see above',
  ].join('\n');
}
