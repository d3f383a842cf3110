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

/** The commands, for the program to add to its own. */
export function rotateCommands(environment: Environment): Command[] {
  const ask = async <Answer>(what: string, { force, dryRun }: RotateOptions): Promise<Answer> => {
    const { askGateway } = await import('./control.ts');
    const parameters = { ...(force && { force: 'true' }), ...(dryRun && { dryRun: 'true' }) };
    return askGateway<Answer>(environment, `POST identity/${what}`, parameters, { timeout: TIMEOUT });
  };
  const certificate = new Command('rotate-certificate')
    .description(
      "Make this gateway's next certificate where it is due, also while it runs. Housekeeping does so too; run it as " +
        'often as you like.',
    )
    .option('--force', 'make one now, whether it is due or not')
    .action(async (options: RotateOptions) => {
      const outcome = await ask<CertificateRotated>('rotate-certificate', options);
      console.log(options.json ? JSON.stringify(outcome, undefined, 2) : describeCertificate(outcome));
    });
  const key = new Command('rotate-key')
    .description(
      'Make a new identity key, which issues from now on, also while the gateway runs. Earlier keys are served until ' +
        'they end. Within a day of the last rotation it does nothing, so that it may be run again.',
    )
    .option('--force', 'also within a day of the last rotation')
    .action(async (options: RotateOptions) => {
      const outcome = await ask<KeyRotated>('rotate-key', options);
      console.log(options.json ? JSON.stringify(outcome, undefined, 2) : describeKey(outcome));
    });
  for (const command of [certificate, key]) {
    command
      .option('--dry-run', 'say what would be done, and do nothing')
      .option('--json', 'print JSON')
      .addHelpText('after', `\nExample:\n  $ relay-gateway ${command.name()} --dry-run`);
  }
  return [certificate, key];
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
