/**
 * The `relay-gateway` command: reads the command line and the environment, and runs one command of this folder.
 *
 * Exit codes: 0 clean, 1 fault, 2 bad configuration or usage. Commands are loaded when they are called, so that each
 * starts fast.
 */
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { ConfigError } from '../config.ts';
import { backupCommand } from './backup.ts';
import { certificateCommand } from './certificate.ts';
import { costCommand } from './cost.ts';
import { addCourierCommand } from './courier.ts';
import { debugCommand } from './debug.ts';
import { deprovisionCommand } from './deprovision.ts';
import { migrateCommand } from './migrate.ts';
import { peersCommand } from './peers.ts';
import { pingCommand } from './ping.ts';
import { provisionCommand } from './provision.ts';
import { queueCommand } from './queue.ts';
import { quickstartCommand } from './quickstart.ts';
import { recoverCommand } from './recover.ts';
import { recoveryKeyCommand } from './recovery-key.ts';
import { restoreCommand } from './restore.ts';
import { rotateCommands } from './rotate.ts';
import { storeCommand } from './store.ts';

const FAULT = 1;
const BAD_USAGE = 2;

// Compiled code is kept between starts, which halves their time; where nothing can be written, it is not.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/relay-gateway', import.meta.url)));

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const program = new Command('relay-gateway')
  .description('An Awala Internet gateway. Settings come from the environment: see docs/operate.md.')
  .version(version)
  .showHelpAfterError('(--help tells more)')
  .exitOverride();

program
  .command('serve')
  .description('Run the gateway until SIGTERM or SIGINT.')
  .action(async () => {
    const { serve } = await import('./serve.ts');
    process.exitCode = await serve(process.env, version);
  });

program
  .command('identity')
  .description("Print this gateway's node id and certificates, also while it runs.")
  .option('--connection-params <file>', 'write the connection parameters, which clients register with, to a file')
  .option('--json', 'print JSON')
  .action(async (options: { connectionParams?: string; json?: true }) => {
    const { showIdentity } = await import('./identity.ts');
    await showIdentity(process.env, options);
  });

program
  .command('health')
  .description('Ask the gateway that runs on this machine, by its ops port, whether it is well.')
  .action(async () => {
    const { showHealth } = await import('./health.ts');
    process.exitCode = await showHealth(process.env);
  });

program
  .command('config')
  .description('Print the effective settings and where each came from; or edit the file that they come from.')
  .option('--edit', 'edit an environment file in $EDITOR; it is checked as a whole before it is written')
  .option('--file <path>', 'the file to edit', '/etc/relay-gateway/environment')
  .option('--json', 'print JSON')
  .addHelpText('after', '\nExample:\n  $ relay-gateway config --edit --file gateway.env')
  .action(async ({ edit, file, ...options }: { edit?: true; file: string; json?: true }) => {
    if (edit) {
      const { editConfig } = await import('./edit-config.ts');
      process.exitCode = await editConfig(process.env, file);
      return;
    }
    const { showConfig } = await import('./config.ts');
    showConfig(process.env, options);
  });

program
  .command('trace')
  .description('Print where a parcel has been, where it waits, and why it was refused; also while the gateway runs.')
  .argument('<parcel-id>', "the parcel's RAMF message id, or the trace id of a log line")
  .option(
    '--logs <file...>',
    'what the logs of any number of processes tell, in place of one journal; - reads standard input',
  )
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nExample:\n  $ kubectl logs --selector app.kubernetes.io/name=relay-gateway --tail -1 | relay-gateway trace ID --logs -',
  )
  .action(async (id: string, options: { logs?: string[]; json?: true }) => {
    const { trace } = await import('./trace.ts');
    process.exitCode = await trace(process.env, id, options);
  });

for (const command of [
  peersCommand(process.env),
  queueCommand(process.env),
  storeCommand(process.env),
  recoveryKeyCommand(),
  backupCommand(process.env),
  restoreCommand(process.env),
  recoverCommand(process.env),
  ...rotateCommands(process.env),
  migrateCommand(process.env),
  debugCommand(process.env),
  certificateCommand(process.env),
  costCommand(),
  provisionCommand(),
  deprovisionCommand(),
  quickstartCommand(),
  pingCommand(),
]) {
  program.addCommand(command.copyInheritedSettings(program));
  for (const sub of command.commands) {
    sub.copyInheritedSettings(program);
  }
}
addCourierCommand(program);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCode(error);
}

/** Tells a person what went wrong, unless commander has done so. */
function exitCode(error: unknown): number {
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? 0 : BAD_USAGE;
  }
  if (error instanceof ConfigError) {
    console.error(error.message);
    return BAD_USAGE;
  }
  console.error(`relay-gateway: ${error instanceof Error ? error.message : error}`);
  return FAULT;
}
