/**
 * The commands of `relay-gateway`, their arguments and options, and what runs each: a file of this folder, loaded when its
 * command is called.
 */
import { Command } from 'commander';
import type { Environment } from '../config.ts';

/** Those whose arguments and options stand in a file of their own, in the order in which help tells them. */
const OTHERS: Readonly<Record<string, (environment: Environment) => Promise<Command>>> = {
  peers: async (environment) => (await import('./peers.ts')).peersCommand(environment),
  queue: async (environment) => (await import('./queue.ts')).queueCommand(environment),
  store: async (environment) => (await import('./store.ts')).storeCommand(environment),
  'recovery-key': async () => (await import('./recovery-key.ts')).recoveryKeyCommand(),
  backup: async (environment) => (await import('./backup.ts')).backupCommand(environment),
  restore: async (environment) => (await import('./restore.ts')).restoreCommand(environment),
  recover: async (environment) => (await import('./recover.ts')).recoverCommand(environment),
  'rotate-certificate': async (environment) => (await import('./rotate.ts')).rotateCertificateCommand(environment),
  'rotate-key': async (environment) => (await import('./rotate.ts')).rotateKeyCommand(environment),
  migrate: async (environment) => (await import('./migrate.ts')).migrateCommand(environment),
  debug: async (environment) => (await import('./debug.ts')).debugCommand(environment),
  certificate: async (environment) => (await import('./certificate.ts')).certificateCommand(environment),
  cost: async () => (await import('./cost.ts')).costCommand(),
  provision: async () => (await import('./provision.ts')).provisionCommand(),
  deprovision: async (environment) => (await import('./deprovision.ts')).deprovisionCommand(environment),
  quickstart: async () => (await import('./quickstart.ts')).quickstartCommand(),
  ping: async () => (await import('./ping.ts')).pingCommand(),
  courier: async () => (await import('./courier.ts')).courierCommand(),
};

/**
 * The program, for one command line.
 *
 * @param parts.word the first of that line: of the commands with a file of their own only the one that it names is loaded; all
 *   are where it names none, for help and after a slip
 */
export async function newProgram(parts: { environment: Environment; version: string; word: string }): Promise<Command> {
  const { environment, version, word } = parts;
  const program = plainProgram(environment, version);
  const isPlain = program.commands.some((command) => command.name() === word);
  for (const command of isPlain ? [] : await calledCommands(environment, word)) {
    program.addCommand(command.copyInheritedSettings(program));
    for (const sub of command.commands) {
      sub.copyInheritedSettings(program);
    }
  }
  return program;
}

function calledCommands(environment: Environment, word: string): Promise<Command[]> {
  const called = Object.hasOwn(OTHERS, word) ? OTHERS[word] : undefined;
  return Promise.all((called ? [called] : Object.values(OTHERS)).map((load) => load(environment)));
}

/** With the commands that are said in a few lines. */
function plainProgram(environment: Environment, version: string): Command {
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
      process.exitCode = await serve(environment, version);
    });

  program
    .command('identity')
    .description("Print this gateway's node id and certificates, also while it runs.")
    .option('--connection-params <file>', 'write the connection parameters, which clients register with, to a file')
    .option('--json', 'print JSON')
    .action(async (options: { connectionParams?: string; json?: true }) => {
      const { showIdentity } = await import('./identity.ts');
      await showIdentity(environment, options);
    });

  program
    .command('health')
    .description('Ask the gateway that runs on this machine, by its ops port, whether it is well.')
    .action(async () => {
      const { showHealth } = await import('./health.ts');
      process.exitCode = await showHealth(environment);
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
        process.exitCode = await editConfig(environment, file);
        return;
      }
      const { showConfig } = await import('./config.ts');
      showConfig(environment, options);
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
      process.exitCode = await trace(environment, id, options);
    });

  return program;
}
