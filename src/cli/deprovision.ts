/** `relay-gateway deprovision`: an environment is taken down, a step at a time, each of which is asked for by its name. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { duration, type RedisPlace, redisUrl, ValueError } from '../config/values.ts';
import { ConfigError, type Environment as Variables } from '../config.ts';
import { ENVIRONMENT_NAMES } from '../provision/environment.ts';
import { REMOVAL_STEPS, type RemovalStep } from '../provision/removal.ts';

interface Given {
  readonly environment?: string;
  readonly file?: string;
  readonly step?: RemovalStep;
  readonly dryRun?: true;
  readonly confirm?: string;
  readonly helmfile: string;
  readonly wait: number;
}

/**
 * The command, for the program to add to its own.
 *
 * @param environment may say where Redis is, by REDIS_URL
 */
export function deprovisionCommand(environment: Variables): Command {
  const command = new Command('deprovision')
    .description(
      'Take an environment down, in steps: stop, empty, remove, destroy-keys. Without --step, tell what each has to do. ' +
        "The environment's file must unlock it by a day in removableUntil, within a week.",
    )
    .option('--environment <name>', `${ENVIRONMENT_NAMES.join(', ')}: by the file environments/NAME.yaml`, readName)
    .option('--file <path>', 'by this file')
    .addOption(new Option('--step <step>', 'the step to do').choices(REMOVAL_STEPS))
    .option('--dry-run', 'print what would be done')
    .option('--confirm <address>', 'the Internet address that goes, in place of being asked for it')
    .option('--helmfile <path>', 'by which the gateway was installed', 'helmfile.yaml')
    .option('--wait <time>', 'how long its processes may take to end', readTime, 600_000)
    .addHelpText(
      'after',
      '\nEach step may be run again after a failure in its middle. With REDIS_URL in the environment, empty takes away what\n' +
        'the gateway has there.\n' +
        'Exit codes: 0 done, 1 locked, not confirmed, out of order, or something failed, 2 bad usage.\n' +
        '\nExample:\n  $ relay-gateway deprovision --file environments/development.yaml --dry-run',
    );
  return command.action(async ({ environment: name, file, step, dryRun, confirm, helmfile, wait }: Given) => {
    const path = file ?? (name && `environments/${name}.yaml`);
    if (!path) {
      command.error('error: --environment or --file says what to take down');
    }
    const { deprovision } = await import('./deprovision-steps.ts');
    process.exitCode = await deprovision({
      file: path as string,
      name,
      step,
      isDry: dryRun ?? false,
      confirmation: confirm,
      helmfile,
      patience: wait,
      redis: readRedis(environment['REDIS_URL']),
    });
  });
}

function readName(text: string): string {
  if (!(ENVIRONMENT_NAMES as readonly string[]).includes(text)) {
    throw new InvalidArgumentError(`It must be one of ${ENVIRONMENT_NAMES.join(', ')}.`);
  }
  return text;
}

function readTime(text: string): number {
  try {
    return duration('1s', '1h')(text);
  } catch (error) {
    throw error instanceof ValueError ? new InvalidArgumentError(`It ${error.message}.`) : error;
  }
}

/** @throws ConfigError */
function readRedis(url: string | undefined): RedisPlace | undefined {
  try {
    return url ? redisUrl(url) : undefined;
  } catch (error) {
    throw error instanceof ValueError ? new ConfigError([`REDIS_URL ${error.message}`]) : error;
  }
}
