/** `relay-gateway ping`: the doctor, who acts as a private gateway to see whether a gateway serves them. */
import { Command, InvalidArgumentError } from 'commander';
import { SETTINGS } from '../config/settings.ts';
import { domainName } from '../config/values.ts';
import type { ExaminationReport, GivenDoors, NamedGateway } from '../doctor/examination.ts';
import { STEP_NAMES, type Step, type StepName, type StepObserver } from '../doctor/step.ts';

const FAULT = 1;

const DEFAULT_TIMEOUT = '60';
const MAX_TIMEOUT = 3600;

const DEFAULT_RESOLVER = new URL(SETTINGS.resolverUrl.defaultText ?? '');

/** A step that takes longer than this, in milliseconds, is told about while it runs. */
const PATIENCE = 1000;

const NAME_WIDTH = Math.max(...STEP_NAMES.map((name) => name.length));

interface PingOptions {
  readonly address?: string;
  readonly resolver: URL;
  readonly collection?: URL;
  readonly pohttp?: URL;
  readonly cargo?: URL;
  readonly timeout: number;
  readonly json?: true;
}

/** The command, for the program to add to its own. */
export function pingCommand(): Command {
  return new Command('ping')
    .description(
      'Examine a running gateway: act as a private gateway that registers, sends itself a parcel and collects it.',
    )
    .argument('[url]', "the gateway's PoWeb, e.g. http://127.0.0.1:8080", baseUrl)
    .option('--address <name>', 'in place of URLs: the Internet address, whose doors the DNS tells', addressName)
    .option('--resolver <url>', 'the DNS-over-HTTPS resolver for --address', httpUrl, DEFAULT_RESOLVER)
    .option('--collection <url>', "where parcels are collected, if not at PoWeb's URL", baseUrl)
    .option('--pohttp <url>', "send a parcel by the gateway's PoHTTP too, e.g. http://127.0.0.1:8081", httpUrl)
    .option('--cargo <url>', "send a parcel in cargo too, by the gateway's CogRPC, e.g. http://127.0.0.1:8082", httpUrl)
    .option('--timeout <seconds>', 'how long the whole may take', seconds, seconds(DEFAULT_TIMEOUT))
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nEach step is printed with its time; one that fails, with the likely mend.\nExit codes: 0 all is well, 1 a step failed, 2 bad usage.',
    )
    .action(ping);
}

async function ping(url: URL | undefined, options: PingOptions, command: Command): Promise<void> {
  const { address, resolver, collection, pohttp, cargo, timeout, json } = options;
  if ((url === undefined) === (address === undefined) || (address !== undefined && (collection || pohttp || cargo))) {
    command.error('error: give either the URLs of the doors or --address');
  }
  const gateway = address === undefined ? { url: url as URL, collection, pohttp, cargo } : { address, resolver };
  const { examine } = await import('../doctor/examination.ts');
  const report = await examine({ gateway, deadline: timeout * 1000 }, json ? SILENT : new StepPrinter());
  console.log(json ? JSON.stringify(jsonReport(gateway, report), undefined, 2) : verdict(report));
  if (!report.isHealthy) {
    process.exitCode = FAULT;
  }
}

/** The document's members are stable: programs read them. */
function jsonReport(given: GivenDoors | NamedGateway, { isHealthy, milliseconds, gateway, steps }: ExaminationReport) {
  const { url, pohttp, cargo, address } = {
    url: undefined,
    pohttp: undefined,
    cargo: undefined,
    address: null,
    ...given,
  };
  return {
    address,
    url: url?.href ?? null,
    pohttp: pohttp?.href ?? null,
    cargo: cargo?.href ?? null,
    healthy: isHealthy,
    milliseconds,
    gateway: gateway ?? null,
    steps,
  };
}

/** In one line, for people. */
export function verdict({ isHealthy, milliseconds, steps }: ExaminationReport): string {
  const failed = steps.filter((step) => step.outcome === 'failed').length;
  const result = isHealthy ? 'The gateway is well' : `${failed} ${failed === 1 ? 'step' : 'steps'} failed`;
  return `${result} (${(milliseconds / 1000).toFixed(1)} s)`;
}

const SILENT: StepObserver = { started() {}, ended() {} };

/** Prints steps as they end, and on standard error that one is taking long. */
export class StepPrinter implements StepObserver {
  private progress: NodeJS.Timeout | undefined;

  started(name: StepName): void {
    const start = performance.now();
    this.progress = setInterval(() => {
      console.error(`...      ${name.padEnd(NAME_WIDTH)}  ${Math.round((performance.now() - start) / 1000)} s so far`);
    }, PATIENCE);
  }

  ended({ name, outcome, milliseconds, detail, code, mend }: Step): void {
    clearInterval(this.progress);
    const time = outcome === 'skipped' ? '' : `${Math.round(milliseconds)} ms`;
    const reason = code ? `${detail} [${code}]` : detail;
    console.log(`${outcome.padEnd(7)}  ${name.padEnd(NAME_WIDTH)}  ${time.padStart(8)}  ${reason}`);
    if (mend) {
      console.log(`         mend: ${mend}`);
    }
  }
}

function addressName(text: string): string {
  try {
    return domainName(text);
  } catch (error) {
    throw new InvalidArgumentError(`It ${(error as Error).message}.`);
  }
}

/** A URL below whose path calls are made. */
function baseUrl(text: string): URL {
  const url = httpUrl(text);
  if (!url.pathname.endsWith('/')) {
    url.pathname += '/';
  }
  return url;
}

function httpUrl(text: string): URL {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError('It must be an http:// or https:// URL.');
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new InvalidArgumentError('It must have no user, query or fragment.');
  }
  return url;
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= MAX_TIMEOUT)) {
    throw new InvalidArgumentError(`It must be a number of seconds up to ${MAX_TIMEOUT}.`);
  }
  return value;
}
