/** `relay-gateway provision`: an environment's keys, bucket, database and rights in the cloud, made where they are missing. */
import { Command, InvalidArgumentError } from 'commander';
import { ValueError } from '../config/values.ts';
import { ENVIRONMENT_NAMES, principal } from '../provision/environment.ts';
import type { Auditor } from '../provision/wants.ts';

interface Given {
  readonly environment?: string;
  readonly file?: string;
  readonly dryRun?: true;
  readonly check?: true;
  readonly json?: true;
  readonly yes?: true;
  readonly auditor?: string;
  readonly until?: number;
}

/** The command, for the program to add to its own. */
export function provisionCommand(): Command {
  const command = new Command('provision')
    .description(
      "Make what an environment's file asks for and the cloud does not have: keys, bucket, database, rights. What is " +
        'there already is shown, and never changed.',
    )
    .option(
      '--environment <name>',
      `${ENVIRONMENT_NAMES.join(', ')}: by the file environments/NAME.yaml of this folder`,
      readName,
    )
    .option('--file <path>', 'by this file')
    .option('--dry-run', 'print what would be done')
    .option('--check', 'do nothing; exit with 1 where something is missing or otherwise than the file says')
    .option('--json', 'print one JSON document')
    .option('--yes', 'do not ask before acting on production')
    .option('--auditor <principal>', 'let somebody look at keys and rights, not messages', readPrincipal)
    .option('--until <date>', 'how long the auditor may: YYYY-MM-DD', readDate)
    .addHelpText(
      'after',
      '\nIt may be run again at any time: the second run changes nothing.\n' +
        'Exit codes: 0 all is as the file says, 1 it is not, or something failed, 2 bad usage or a file that cannot be used.\n' +
        '\nExample:\n  $ relay-gateway provision --file environments/development.yaml --dry-run',
    );
  return command.action(async (given: Given) => {
    const { environment, file = environment && `environments/${environment}.yaml`, auditor, until } = given;
    if (!file) {
      command.error('error: --environment or --file says what to provision');
    }
    if ((auditor === undefined) !== (until === undefined)) {
      command.error('error: --auditor and --until go together');
    }
    const { provision } = await import('./provision-steps.ts');
    process.exitCode = await provision({
      file: file as string,
      name: environment,
      isDry: given.dryRun ?? false,
      isCheck: given.check ?? false,
      isJson: given.json ?? false,
      isAgreed: given.yes ?? false,
      auditor: auditor === undefined ? undefined : ({ principal: auditor, until } as Auditor),
    });
  });
}

function readName(text: string): string {
  if (!(ENVIRONMENT_NAMES as readonly string[]).includes(text)) {
    throw new InvalidArgumentError(`It must be one of ${ENVIRONMENT_NAMES.join(', ')}.`);
  }
  return text;
}

function readPrincipal(text: string): string {
  try {
    return principal(text);
  } catch (error) {
    throw error instanceof ValueError ? new InvalidArgumentError(`It ${error.message}.`) : error;
  }
}

/** The end of that day, in UTC. */
function readDate(text: string): number {
  const instant = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T23:59:59Z`) : Number.NaN;
  if (!(instant > Date.now())) {
    throw new InvalidArgumentError('It must be a day to come: YYYY-MM-DD.');
  }
  return instant;
}
