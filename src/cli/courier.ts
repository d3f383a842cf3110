/** `relay-gateway courier`: carries cargo between gateways, as a courier's app does. */
import { readFile } from 'node:fs/promises';
import { Command, InvalidArgumentError } from 'commander';
import { ProgressBar } from './progress-bar.ts';

const FAULT = 1;

const DEFAULT_GATEWAY = 'http://127.0.0.1:8082';

interface Options {
  readonly gateway: URL;
  readonly json?: true;
}

interface CollectOptions extends Options {
  readonly cca: string;
  readonly out: string;
}

/** The command, for the program to add to its own. */
export function courierCommand(): Command {
  const courier = new Command('courier').description(
    'Carry cargo to and from a gateway. May be interrupted and run again.',
  );
  withCommonOptions(courier.command('collect'))
    .description("Collect the cargo that a private gateway's authorization (CCA) lets one have.")
    .requiredOption('--cca <file>', 'the CCA, as the private gateway made it')
    .requiredOption('--out <folder>', 'where the cargo goes, a file each; made where there is none')
    .addHelpText('after', '\nExit codes: 0 all was collected, 1 it was not, 2 bad usage.')
    .action(collect);
  withCommonOptions(courier.command('deliver'))
    .description('Deliver all cargo (*.cargo) of a folder; what the gateway has goes to its subfolder "delivered".')
    .argument('<folder>', 'where the cargo is')
    .addHelpText('after', '\nExit codes: 0 all was delivered, 1 it was not, 2 bad usage.')
    .action(deliver);
  return courier;
}

function withCommonOptions(command: Command): Command {
  return command
    .option('--gateway <url>', "the gateway's CogRPC", url, url(DEFAULT_GATEWAY))
    .option('--json', 'print JSON');
}

async function collect({ gateway, cca, out, json }: CollectOptions): Promise<void> {
  const { collectCargo } = await import('../courier/courier.ts');
  const { CargoFolder } = await import('../courier/cargo-folder.ts');
  const authorization = await readFile(cca);
  const folder = await CargoFolder.create(out);
  await run('Collecting', undefined, json, async (bar, signal) => {
    const isNew = await collectCargo(gateway, authorization, folder, (octets) => bar.advance(octets), signal);
    return isNew ? 'Collected' : 'All was collected before:';
  });
}

async function deliver(directory: string, { gateway, json }: Options): Promise<void> {
  const { deliverCargo } = await import('../courier/courier.ts');
  const { CargoFolder } = await import('../courier/cargo-folder.ts');
  const folder = await CargoFolder.open(directory);
  const total = (await folder.list()).reduce((sum, { size }) => sum + size, 0);
  await run('Delivering', total, json, async (bar, signal) => {
    await deliverCargo(gateway, folder, (octets) => bar.advance(octets), signal);
    return 'Delivered';
  });
}

/** Shows how far it is, and in the end what was done, or why it was not; SIGINT stops it. */
async function run(
  label: string,
  total: number | undefined,
  json: true | undefined,
  work: (bar: ProgressBar, signal: AbortSignal) => Promise<string>,
): Promise<void> {
  const interruption = new AbortController();
  const interrupt = () => interruption.abort(new Error('Interrupted: run it again to go on'));
  process.once('SIGINT', interrupt);
  const bar = new ProgressBar(label, total);
  let outcome: { readonly done?: string; readonly error?: string };
  try {
    outcome = { done: await work(bar, interruption.signal) };
  } catch (error) {
    outcome = { error: explained(error as Error) };
  } finally {
    bar[Symbol.dispose]();
    process.off('SIGINT', interrupt);
  }
  const { cargoes, octets, milliseconds } = bar.summary;
  if (outcome.error !== undefined) {
    process.exitCode = FAULT;
  }
  if (json) {
    const complete = outcome.error === undefined;
    console.log(
      JSON.stringify({ complete, cargoes, octets, milliseconds, error: outcome.error ?? null }, undefined, 2),
    );
    return;
  }
  console.log(
    `${outcome.done ?? 'So far:'} ${cargoes} cargoes, ${octets} octets, ${(milliseconds / 1000).toFixed(1)} s`,
  );
  if (outcome.error !== undefined) {
    console.error(`relay-gateway: ${outcome.error}`);
  }
}

/** What each refusal means for a courier. */
const MEANINGS: Readonly<Record<string, string>> = {
  PERMISSION_DENIED: 'this CCA is spent: its cargo was collected before',
  UNAUTHENTICATED:
    'the gateway does not take this CCA; it must be valid, and by a private gateway that is registered there',
  INVALID_ARGUMENT: 'this CCA is for another gateway',
  UNIMPLEMENTED: 'there is no CogRPC at this URL',
};

function explained(error: Error): string {
  const meaning = 'status' in error ? MEANINGS[error.status as string] : undefined;
  return meaning ? `${error.message} (${meaning})` : error.message;
}

function url(text: string): URL {
  const value = URL.parse(text);
  if (!value || !/^https?:$/.test(value.protocol)) {
    throw new InvalidArgumentError('It must be an http:// or https:// URL.');
  }
  return value;
}
