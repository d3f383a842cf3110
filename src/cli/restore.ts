/** `relay-gateway restore`: a gateway from its backup, on empty stores. */
import { Command } from 'commander';
import { pino } from 'pino';
import { type Config, ConfigError, type Environment, localKinds, readConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import { machineClock } from '../machine.ts';
import { describeRestored, requireNamed, restoredForMachines, withBar } from './backup.ts';
import { type KeyOptions, readKey, requireKeyOptions, withKeyOptions } from './recovery-key.ts';

const STANDARD_ERROR = 2;

/**
 * A default would have the gateway restored where it does not look for it, and start as another.
 *
 * @throws ConfigError
 */
function requireOwnStores(environment: Environment, config: Config): void {
  requireNamed(environment);
  const kinds = localKinds(config);
  if (kinds.length > 0 && !environment['DATA_DIR']) {
    throw new ConfigError([
      `DATA_DIR must be set, as the gateway has it: what is local (${kinds.join(', ')}) is there`,
    ]);
  }
}

/** What nobody should find out later. */
const WARNINGS = [
  'What was blocked, revoked or registered after that time is not in it: block again whom you blocked since.',
  'Parcels and cargo that waited are not in it; private gateways send again what was not acknowledged to them.',
  'A private gateway that only couriers serve, and that got cargo from here since, must register again.',
];

/** The command, for the program to add to its own. */
export function restoreCommand(environment: Environment): Command {
  return withKeyOptions(new Command('restore'))
    .description('Restore a backup onto empty stores while no gateway runs on them. Cut short, it is run again.')
    .requiredOption('--from <place>', 'a file, gs://BUCKET/NAME, or - for standard input')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  relay-gateway restore --from last.backup --recovery-key recovery.key')
    .action(async ({ from, json, ...keys }: KeyOptions & { from: string; json?: true }, self: Command) => {
      requireKeyOptions(keys, self, from);
      const { restoreGateway } = await import('../compose/backup.ts');
      const { openPlace } = await import('../compose/backup-place.ts');
      const config = readConfig(environment);
      requireOwnStores(environment, config);
      const logger = createLogger(config.logLevel, pino.destination({ dest: STANDARD_ERROR, sync: true }));
      const key = await readKey(keys);
      const place = await openPlace(from);
      const restored = await withBar('Restoring', (onProgress) =>
        restoreGateway(config, { place, key, clock: machineClock, logger, onProgress }),
      );
      console.log(json ? JSON.stringify(restoredForMachines(restored), undefined, 2) : describeRestored(restored));
      for (const warning of WARNINGS) {
        console.error(warning);
      }
    });
}
