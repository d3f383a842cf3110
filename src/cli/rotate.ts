/** `relay-gateway rotate-certificate` and `rotate-key`: the next certificate, the next identity key. */
import { Command } from 'commander';
import type { Environment } from '../config.ts';
import type { CertificateRotated, KeyRotated, OwnKeyReport } from '../services/control/identity-orders.ts';
import { table } from './table.ts';

/** A key in an HSM may take two minutes: how long a running gateway may take, in milliseconds. */
const TIMEOUT = 180_000;

interface RotateOptions {
  readonly force?: true;
  readonly dryRun?: true;
  readonly json?: true;
}

/** The command, for the program to add to its own. */
export function rotateCertificateCommand(environment: Environment): Command {
  const command = new Command('rotate-certificate')
    .description(
      "Make this gateway's next certificate where it is due, also while it runs. Housekeeping does so too; run it as " +
        'often as you like.',
    )
    .option('--force', 'make one now, whether it is due or not');
  return withRotation(command, environment, describeCertificate);
}

/** The command, for the program to add to its own. */
export function rotateKeyCommand(environment: Environment): Command {
  const command = new Command('rotate-key')
    .description(
      'Make a new identity key, which issues from now on, also while the gateway runs. Earlier keys are served until ' +
        'they end. Within a day of the last rotation it does nothing, so that it may be run again.',
    )
    .option('--force', 'also within a day of the last rotation');
  return withRotation(command, environment, describeKey);
}

/** What both have; a command has the name of what it asks for. */
function withRotation<Answer>(
  command: Command,
  environment: Environment,
  describe: (answer: Answer) => string,
): Command {
  return command
    .option('--dry-run', 'say what would be done, and do nothing')
    .option('--json', 'print JSON')
    .addHelpText('after', `\nExample:\n  $ relay-gateway ${command.name()} --dry-run`)
    .action(async ({ force, dryRun, json }: RotateOptions) => {
      const { askGateway } = await import('./control.ts');
      const parameters = { ...(force && { force: 'true' }), ...(dryRun && { dryRun: 'true' }) };
      const what = `POST identity/${command.name()}`;
      const outcome = await askGateway<Answer>(environment, what, parameters, { timeout: TIMEOUT });
      console.log(json ? JSON.stringify(outcome, undefined, 2) : describe(outcome));
    });
}

function describeCertificate({ isRotated, isDryRun, serialNumber, notAfter }: CertificateRotated): string {
  const done = isDryRun ? 'A new certificate would be made' : 'A new certificate was made';
  return `${isRotated ? done : 'No new certificate is due'}; ${serialNumber} issues, until ${notAfter.slice(0, 10)}`;
}

function describeKey({ isRotated, isDryRun, keys }: KeyRotated): string {
  const done = isDryRun ? 'A new key would be made' : 'A new key was made';
  return `${isRotated ? done : 'No new key: the last one was made within a day'}\n${keyTable(keys)}`;
}

/** The keys that are served, a line each, for people. */
export function keyTable(keys: readonly OwnKeyReport[]): string {
  const rows = keys.map(({ nodeId, created, state, issuesFrom, end }) => [
    nodeId,
    `made ${created.slice(0, 10)}`,
    issuesFrom ? `issues from ${issuesFrom}` : end ? `served until ${end.slice(0, 10)} at least` : state,
  ]);
  return table(rows, '  ');
}
