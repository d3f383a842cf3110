/**
 * The `relay-gateway` command: reads the command line and the environment, and runs one command of this folder.
 *
 * Exit codes: 0 clean, 1 fault, 2 bad configuration or usage. Of the commands only the one that is called is loaded, so
 * that each starts fast; for help and after a slip, all are.
 */
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError } from 'commander';
import { ConfigError } from '../config.ts';

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

/** Those whose arguments and options stand in a file of their own, in the order in which help tells them. */
const OTHERS: Readonly<Record<string, () => Promise<Command>>> = {
  peers: async () => (await import('./peers.ts')).peersCommand(process.env),
  queue: async () => (await import('./queue.ts')).queueCommand(process.env),
  store: async () => (await import('./store.ts')).storeCommand(process.env),
  'recovery-key': async () => (await import('./recovery-key.ts')).recoveryKeyCommand(),
  backup: async () => (await import('./backup.ts')).backupCommand(process.env),
  restore: async () => (await import('./restore.ts')).restoreCommand(process.env),
  recover: async () => (await import('./recover.ts')).recoverCommand(process.env),
  'rotate-certificate': async () => (await import('./rotate.ts')).rotateCertificateCommand(process.env),
  'rotate-key': async () => (await import('./rotate.ts')).rotateKeyCommand(process.env),
  migrate: async () => (await import('./migrate.ts')).migrateCommand(process.env),
  debug: async () => (await import('./debug.ts')).debugCommand(process.env),
  certificate: async () => (await import('./certificate.ts')).certificateCommand(process.env),
  cost: async () => (await import('./cost.ts')).costCommand(),
  provision: async () => (await import('./provision.ts')).provisionCommand(),
  deprovision: async () => (await import('./deprovision.ts')).deprovisionCommand(process.env),
  quickstart: async () => (await import('./quickstart.ts')).quickstartCommand(),
  ping: async () => (await import('./ping.ts')).pingCommand(),
  courier: async () => (await import('./courier.ts')).courierCommand(),
};

for (const command of await calledCommands(process.argv[2] ?? '')) {
  program.addCommand(command.copyInheritedSettings(program));
  for (const sub of command.commands) {
    sub.copyInheritedSettings(program);
  }
}

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCode(error);
}

/** Those that commander needs to know for a command line that starts with this word. */
async function calledCommands(word: string): Promise<Command[]> {
  if (program.commands.some((command) => command.name() === word)) {
    return [];
  }
  const called = Object.hasOwn(OTHERS, word) ? OTHERS[word] : undefined;
  return called ? [await called()] : Promise.all(Object.values(OTHERS).map((load) => load()));
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
