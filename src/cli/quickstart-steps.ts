/** The steps of `relay-gateway quickstart`, in order. Each may have been done before, and is then left as it is. */
import { execFile } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseEnv, promisify } from 'node:util';
import { CertificateFault } from '../certificate/certificate-fault.ts';
import { SECRETS, SETTINGS } from '../config/settings.ts';
import { type Config, ConfigError, type Environment, readConfig } from '../config.ts';
import { Dns } from '../doctor/dns.ts';
import { type ExaminationReport, examine } from '../doctor/examination.ts';
import { DoctorFault } from '../doctor/fault.ts';
import { commandText } from '../quickstart/command-text.ts';
import { dnsRecords, hasIpv6, publicAddresses } from '../quickstart/dns-records.ts';
import { marked, placeFile, readIfThere, type WantedFile } from '../quickstart/managed-file.ts';
import { settingsText, UnquotableError } from '../quickstart/settings-text.ts';
import { PLACES, UNITS, USER, USER_TEXT, unitText } from '../quickstart/units.ts';
import { describe, keepConfiguredCertificate } from './certificate.ts';
import type { QuickstartObserver, QuickstartReport, QuickstartStep } from './quickstart-report.ts';

const run = promisify(execFile);

/** How long systemd may take, and the doctor, in milliseconds. */
const SYSTEMD_TIMEOUT = 600_000;
const DOCTOR_TIMEOUT = 60_000;

const SECRET = 0o600;
const READABLE = 0o644;
const EXECUTABLE = 0o755;

/** Folders that the units do not see. */
const HIDDEN = ['/home/', '/root/', '/run/user/', '/tmp/', '/var/tmp/'];

export interface QuickstartRequest {
  readonly address: string;
  /** Settings by variable; all others are as they are in the file, or as usual. */
  readonly given: ReadonlyMap<string, string>;
  /** Public addresses of this machine; found by itself where empty. */
  readonly addresses: readonly string[];
  /** `/`, or a folder that stands for it. */
  readonly root: string;
  readonly isDry: boolean;
}

/** Why a step failed, and the likely mend. */
class QuickstartFault extends Error {
  override readonly name = 'QuickstartFault';
  readonly code: string;
  readonly mend: string;

  constructor(code: string, message: string, mend: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.mend = mend;
  }
}

/** Runs all steps that can run. Gives faults in the report; throws only what is a fault of its own. */
export function quickstart(request: QuickstartRequest, observer: QuickstartObserver): Promise<QuickstartReport> {
  return new Quickstart(request, observer).run();
}

type Result = Pick<QuickstartStep, 'outcome' | 'detail' | 'difference'>;

class Quickstart {
  private readonly request: QuickstartRequest;
  private readonly observer: QuickstartObserver;
  private readonly steps: QuickstartStep[] = [];
  private readonly isImage: boolean;
  /** A file that a running gateway has read is another now. */
  private isRestartDue = false;

  constructor(request: QuickstartRequest, observer: QuickstartObserver) {
    this.request = request;
    this.observer = observer;
    this.isImage = path.resolve(request.root) !== '/';
  }

  async run(): Promise<QuickstartReport> {
    const { address, isDry } = this.request;
    const program = fileURLToPath(new URL('../../bin/relay-gateway.js', import.meta.url));
    await this.step('machine', async () => this.checkMachine(program));
    let settings: { environment: Environment; config: Config } | undefined;
    await this.step('settings', async () => {
      const placed = await this.placeSettings();
      settings = placed;
      return placed.result;
    });
    await this.step('user', () => this.addUser());
    await this.step('command', () => {
      const { settings, command: file } = PLACES;
      const text = commandText({ node: process.execPath, program, settings, user: USER });
      return this.place({ path: file, text, mode: EXECUTABLE });
    });
    for (const unit of UNITS) {
      await this.step(unit, () => {
        const { gracePeriod } = present(settings).config;
        const text = unitText(unit, { node: process.execPath, program, gracePeriod });
        return this.place({ path: `${PLACES.units}/${unit}`, text, mode: READABLE }, { isRead: unit === UNITS[0] });
      });
    }
    const records = settings ? this.recordsOf(settings.config) : [];
    let examination: ExaminationReport | undefined;
    if (settings && !isDry) {
      const { environment, config } = settings;
      const resolver = new URL(config.resolverUrl);
      await this.step('dns', () => checkAddresses(address, resolver));
      await this.step('certificate', async () => {
        const kept = await keepConfiguredCertificate(this.withinRoot(environment), { isForced: false });
        return { outcome: kept.outcome === 'kept' ? 'unchanged' : 'done', detail: describe(kept) };
      });
      await this.step('start', () => this.start());
      if (!this.hasFailed) {
        const gateway = { address, resolver };
        examination = await examine({ gateway, deadline: DOCTOR_TIMEOUT }, this.observer.doctor);
      }
    }
    const healthy = !this.hasFailed && examination?.isHealthy !== false;
    return { healthy, steps: this.steps, records, examination };
  }

  private get hasFailed(): boolean {
    return this.steps.some(({ outcome }) => outcome === 'failed');
  }

  /** After a failed step the others are skipped: each builds on those before. */
  private async step(name: string, work: () => Promise<Result>): Promise<void> {
    let step: QuickstartStep;
    if (this.hasFailed) {
      step = { name, outcome: 'skipped', detail: 'an earlier step failed' };
    } else {
      try {
        step = { name, ...(await work()) };
      } catch (error) {
        step = { name, outcome: 'failed', ...finding(error) };
      }
    }
    this.steps.push(step);
    this.observer.ended(step);
  }

  private checkMachine(program: string): Result {
    const { isDry } = this.request;
    if (!isDry && !this.isImage && !existsSync('/run/systemd/system')) {
      throw new QuickstartFault(
        'SYSTEMD_MISSING',
        'systemd does not run on this machine',
        'Use a machine with systemd, or run the container image there; --dry-run shows what would be done',
      );
    }
    if (!isDry && !this.isImage && process.getuid?.() !== 0) {
      throw new QuickstartFault('NOT_ROOT', 'Only root may set up units', 'Run it with sudo');
    }
    for (const file of [process.execPath, program]) {
      const real = realpathSync(file);
      if (!this.isImage && HIDDEN.some((folder) => real.startsWith(folder))) {
        throw new QuickstartFault(
          'PROGRAM_HIDDEN',
          `The units do not see ${real}: they are kept out of people's and temporary folders`,
          'Install the package below /opt or /usr/local, and run it from there',
        );
      }
      if (/[\s"'\\%$;]/.test(file)) {
        throw new QuickstartFault('PROGRAM_HIDDEN', `The path ${file} cannot stand in a unit`, 'Install it elsewhere');
      }
    }
    return { outcome: 'ok', detail: `${program} with Node.js ${process.version}` };
  }

  /** The settings in the file, after it was written or left as it was. */
  private async placeSettings(): Promise<{ environment: Environment; config: Config; result: Result }> {
    const { address, given, isDry } = this.request;
    const there = parseEnv((await readIfThere(this.below(PLACES.settings))) ?? '');
    const { INTERNET_ADDRESS: before = address } = there;
    if (before !== address) {
      throw new QuickstartFault(
        'ADDRESS_DIFFERS',
        `${PLACES.settings} is for ${before}, not ${address}`,
        'Private gateways that registered know only that address. If nobody has, remove the file, and run this again',
      );
    }
    const usual: Record<string, string> = {
      INTERNET_ADDRESS: address,
      BIND_HOST: hasIpv6() ? '::' : '0.0.0.0',
      POWEB_PORT: '443',
      POHTTP_PORT: '8443',
      COGRPC_PORT: '8444',
      DATA_DIR: PLACES.data,
      TLS_CERT_FILE: PLACES.certificate,
      TLS_KEY_FILE: PLACES.key,
    };
    const values = { ...usual, ...there, ...Object.fromEntries(given) } as Record<string, string>;
    const wanted = { path: PLACES.settings, text: settingsText(inOrder(values)), mode: SECRET };
    const result = await this.place(wanted, { isRead: true });
    // What somebody has edited is what counts.
    const text = isDry ? marked(wanted.text) : ((await readIfThere(this.below(PLACES.settings))) ?? '');
    const environment: Environment = parseEnv(text);
    const config = readConfig({ ...environment, TLS_CERT_FILE: undefined, TLS_KEY_FILE: undefined });
    return { environment, config, result };
  }

  private async addUser(): Promise<Result> {
    const result = await this.place({ path: PLACES.user, text: USER_TEXT, mode: READABLE });
    if (!this.request.isDry) {
      await command('systemd-sysusers', [...this.rootOption, path.basename(PLACES.user)]);
    }
    return result;
  }

  /** Has systemd start it all, now and whenever the machine starts. */
  private async start(): Promise<Result> {
    const [service, , timer] = UNITS;
    if (this.isImage) {
      await command('systemctl', [...this.rootOption, 'enable', service, timer]);
      return { outcome: 'ok', detail: `${service} and ${timer} start with the machine` };
    }
    await command('systemctl', ['daemon-reload']);
    await command('systemctl', ['enable', '--now', timer]);
    await command('systemctl', ['enable', service]);
    // Which does nothing where it runs already.
    await command('systemctl', [this.isRestartDue ? 'restart' : 'start', service]);
    return { outcome: this.isRestartDue ? 'done' : 'ok', detail: `${service} runs, and starts with the machine` };
  }

  /** @param options.isRead that a running gateway has read it */
  private async place(wanted: WantedFile, { isRead = false } = {}): Promise<Result> {
    const { isDry } = this.request;
    const file = { ...wanted, path: this.below(wanted.path) };
    const { outcome, difference: lines } = await placeFile(file, { isDry });
    const difference = lines.map(withoutSecrets);
    if (outcome === 'unchanged') {
      return { outcome, detail: file.path };
    }
    if (outcome === 'kept') {
      return { outcome, detail: `${file.path} was edited, and stays; what differs from what is wanted:`, difference };
    }
    this.isRestartDue ||= isRead;
    if (isDry) {
      this.observer.planned(file.path, withoutSecrets(marked(wanted.text)));
      return { outcome: 'planned', detail: file.path, difference };
    }
    return { outcome: 'done', detail: `${file.path} ${outcome}`, difference };
  }

  private recordsOf({ powebPort: poweb, pohttpPort: pohttp, cogrpcPort: cogrpc }: Config): readonly string[] {
    const { address, addresses } = this.request;
    const ports = { poweb, pohttp, cogrpc };
    const lines = dnsRecords({ address, ports, addresses: addresses.length > 0 ? addresses : publicAddresses() });
    this.observer.records(lines);
    return lines;
  }

  private below(file: string): string {
    return path.join(this.request.root, file);
  }

  private get rootOption(): string[] {
    return this.isImage ? [`--root=${path.resolve(this.request.root)}`] : [];
  }

  private withinRoot(environment: Environment): Environment {
    const { TLS_CERT_FILE: certificate, TLS_KEY_FILE: key } = environment;
    return {
      ...environment,
      ...(certificate && { TLS_CERT_FILE: this.below(certificate) }),
      ...(key && { TLS_KEY_FILE: this.below(key) }),
    };
  }
}

/** As in the table of settings, and the libraries' own variables after them: whatever the order in which they came. */
function inOrder(values: Readonly<Record<string, string>>): Map<string, string> {
  const known = Object.values(SETTINGS).map(({ variable }) => variable);
  const others = Object.keys(values).filter((variable) => !known.includes(variable));
  return new Map([...known, ...others.sort()].map((variable) => [variable, values[variable] ?? '']));
}

/** With the values of secret settings left out. */
function withoutSecrets(text: string): string {
  return text.replace(/^([-+] )?(\w+)=.*$/gm, (line, sign = '', variable: string) =>
    SECRETS.has(variable) ? `${sign}${variable}=(secret)` : line,
  );
}

/** The authority must find the name: to ask it in vain counts against its limits. */
async function checkAddresses(address: string, resolver: URL): Promise<Result> {
  const addresses = await new Dns(resolver, AbortSignal.timeout(DOCTOR_TIMEOUT)).addressesOf(address);
  if (addresses.length === 0) {
    throw new QuickstartFault(
      'NAME_UNKNOWN',
      `The DNS has no address for ${address}`,
      'Publish the records above, wait until they are known, and run the same command again',
    );
  }
  return { outcome: 'ok', detail: `${address} leads to ${addresses.join(', ')}` };
}

async function command(name: string, parameters: readonly string[]): Promise<void> {
  try {
    await run(name, parameters, { timeout: SYSTEMD_TIMEOUT });
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    throw new QuickstartFault(
      'SYSTEMD_FAILED',
      `${name} ${parameters.join(' ')}: ${stderr.trim() || message}`,
      'Look into the log: journalctl -u relay-gateway -n 50',
      { cause: error },
    );
  }
}

function present<Value>(value: Value | undefined): Value {
  if (value === undefined) {
    throw new Error('The settings were not read');
  }
  return value;
}

function finding(error: unknown): Pick<QuickstartStep, 'detail' | 'code' | 'mend'> {
  if (error instanceof QuickstartFault || error instanceof CertificateFault || error instanceof DoctorFault) {
    return { detail: error.message, code: error.code, mend: error.mend };
  }
  if (error instanceof ConfigError) {
    return {
      detail: error.faults.join('; '),
      code: 'SETTINGS_BAD',
      mend: `Mend ${PLACES.settings}, or the options here`,
    };
  }
  if (error instanceof UnquotableError) {
    return { detail: error.message, code: 'SETTINGS_BAD', mend: `Write it into ${PLACES.settings} by hand` };
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (code && /^E[A-Z]+$/.test(code)) {
    return { detail: message, code: 'FILE_UNUSABLE', mend: 'Run it as root, and look whether the disk is full' };
  }
  throw error;
}
