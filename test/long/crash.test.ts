/**
 * The promise of the whole house: what was answered 202 is there until it is acknowledged, however often the process
 * dies.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Certificate } from '../../src/awala/pki/certificate.ts';
import { call } from '../../src/doctor/call.ts';
import { Endpoint } from '../../src/doctor/endpoint.ts';
import { DoctorFault } from '../../src/doctor/fault.ts';
import { deliverByPoHttp } from '../../src/doctor/internet-endpoint.ts';
import { PrivateGateway } from '../../src/doctor/private-gateway.ts';
import { chooseSeed, seededChance } from '../support/chance.ts';
import { freePort } from '../support/free-port.ts';
import { projectRoot, temporaryDirectory } from '../support/gateway.ts';

const KILLS = 50;

/** Milliseconds from a start, or from being ready, until the next kill at the latest. */
const LONGEST_LIFE = 900;

/** Of the kills so many hit a process that may still be starting: reading what the one before left. */
const EARLY_KILLS = 0.2;

/** Of the deliveries so many are acknowledged; after any other the collector goes away. */
const ACKNOWLEDGED = 0.85;

/** How long a client waits before it tries again, in milliseconds. */
const RETRY_PAUSE = 20;

/** How long a start may take, in milliseconds. */
const START_LIMIT = 30_000;

/** How long a client waits for an answer, in milliseconds. */
const ANSWER_LIMIT = 10_000;

test(`no parcel that was accepted is lost when the gateway is killed ${KILLS} times`, {
  timeout: 280_000,
}, async (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed} gives the same moments`);
  const directory = temporaryDirectory();
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  // It comes back to the same ports.
  const victim = new Victim(directory, await freePort(), await freePort());
  t.after(() => victim.kill());
  await victim.start();
  await victim.whenReady();

  const ledger = new Ledger();
  const end = new AbortController();
  // One mailbox is emptied all the time; in the other, all stays until the end.
  const busy = await Recipient.register(victim, end.signal);
  const quiet = await Recipient.register(victim, end.signal);

  let isOver = false;
  const until = () => isOver;
  const byPoWeb = (parcel: Buffer) => busy.gateway.deliver(parcel, busy.certificate);
  const byPoHttp = (parcel: Buffer) => deliverByPoHttp(victim.pohttp, parcel, end.signal);
  const clients = [
    deliver([busy, quiet], byPoWeb, ledger, until, seededChance(seed + 1)),
    deliver([busy, quiet], byPoWeb, ledger, until, seededChance(seed + 2)),
    deliver([quiet], byPoWeb, ledger, until, seededChance(seed + 3)),
    deliver([busy, quiet], byPoHttp, ledger, until, seededChance(seed + 4)),
    collect(busy, ledger, until, seededChance(seed + 5)),
  ];
  // A client that finds more wrong than a gateway that went away ends the test at once.
  const wrong = Promise.all(clients);
  await Promise.race([wrong, killOverAndOver(victim, seededChance(seed))]);
  isOver = true;
  await victim.whenReady();
  await wrong;

  const duplicates = (await collectRest(busy, ledger)) + (await collectRest(quiet, ledger));
  assert.deepEqual(ledger.lost(), []);
  t.diagnostic(
    `${ledger.count('accepted')} parcels accepted, ${ledger.count('acknowledged')} acknowledged in between, ` +
      `${duplicates} of those delivered again, none lost`,
  );
  assert.ok(ledger.count('accepted') >= 10 * KILLS, 'too few parcels were accepted to tell anything');
  assert.ok(ledger.count('acknowledged') >= 2 * KILLS, 'too few parcels were acknowledged to tell anything');
  end.abort();
});

/** The program, killed and started over and over on the same ports and stores. */
class Victim {
  readonly poweb: URL;
  readonly pohttp: URL;
  private readonly environment: Record<string, string | undefined>;
  private child: ChildProcess | undefined;
  private errors = '';

  constructor(directory: string, powebPort: number, pohttpPort: number) {
    this.poweb = new URL(`http://127.0.0.1:${powebPort}/`);
    this.pohttp = new URL(`http://127.0.0.1:${pohttpPort}/`);
    this.environment = {
      PATH: process.env['PATH'],
      DATA_DIR: directory,
      POWEB_PORT: String(powebPort),
      POHTTP_PORT: String(pohttpPort),
      OPS_PORT: '0',
      LOG_LEVEL: 'error',
    };
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, ['src/cli/main.ts', 'serve'], {
      cwd: projectRoot,
      env: this.environment,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.on('data', (text) => {
      this.errors += text;
    });
    await once(child, 'spawn');
    this.child = child;
  }

  /** Resolves when it answers; rejects when it ended by itself. */
  async whenReady(): Promise<void> {
    const deadline = Date.now() + START_LIMIT;
    for (;;) {
      this.checkAlive();
      try {
        await call(this.poweb, { method: 'GET', limit: ANSWER_LIMIT, signal: new AbortController().signal });
        return;
      } catch (error) {
        if (!isAbsence(error) || Date.now() > deadline) {
          throw error;
        }
      }
      await pause(RETRY_PAUSE);
    }
  }

  /** Kills it where it stands; rejects when it had ended by itself. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child) {
      return;
    }
    this.checkAlive();
    this.child = undefined;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    const [, signal] = await exited;
    assert.equal(signal, 'SIGKILL', this.errors);
  }

  private checkAlive(): void {
    const { exitCode = null, signalCode = null } = this.child ?? {};
    assert.equal(exitCode ?? signalCode, null, `The gateway ended by itself: ${this.errors}`);
  }
}

async function killOverAndOver(victim: Victim, chance: () => number): Promise<void> {
  for (let kills = 0; kills < KILLS; kills++) {
    if (chance() >= EARLY_KILLS) {
      await victim.whenReady();
    }
    await pause(chance() * LONGEST_LIFE);
    await victim.kill();
    await victim.start();
  }
}

/** A private gateway with one endpoint, to which parcels go. */
class Recipient {
  readonly gateway: PrivateGateway;
  readonly certificate: Certificate;
  readonly endpoint: Endpoint;

  private constructor(gateway: PrivateGateway, certificate: Certificate, endpoint: Endpoint) {
    this.gateway = gateway;
    this.certificate = certificate;
    this.endpoint = endpoint;
  }

  static async register(victim: Victim, signal: AbortSignal): Promise<Recipient> {
    const gateway = await PrivateGateway.create(victim.poweb, signal);
    const { nodeCertificate: certificate } = await gateway.register(await gateway.preRegister());
    return new Recipient(gateway, certificate, await Endpoint.create({ key: gateway.key, certificate }));
  }
}

/** What is known of each parcel. */
interface Fate {
  /** It got its 202. */
  accepted: boolean;
  /** An acknowledgement was sent, which the gateway may or may not have got. */
  acknowledged: boolean;
  /** It was among the rest, collected in the end. */
  rest: boolean;
}

/** All parcels that were sent, by the digest of their octets. */
class Ledger {
  private readonly fates = new Map<string, Fate>();

  sent(parcel: Buffer): void {
    this.fates.set(digest(parcel), { accepted: false, acknowledged: false, rest: false });
  }

  /** Of a parcel that was sent just so, octet by octet. */
  fate(parcel: Buffer): Fate {
    const fate = this.fates.get(digest(parcel));
    assert.ok(fate, `A parcel of ${parcel.length} octets was delivered that nobody sent`);
    return fate;
  }

  count(what: keyof Fate): number {
    return [...this.fates.values()].filter((fate) => fate[what]).length;
  }

  lost(): string[] {
    return [...this.fates]
      .filter(([, { accepted, acknowledged, rest }]) => accepted && !acknowledged && !rest)
      .map(([parcel]) => parcel);
  }
}

/** Delivers parcel after parcel, each until it is accepted. */
async function deliver(
  recipients: readonly Recipient[],
  send: (parcel: Buffer) => Promise<void>,
  ledger: Ledger,
  isOver: () => boolean,
  chance: () => number,
): Promise<void> {
  while (!isOver()) {
    const recipient = recipients[Math.floor(chance() * recipients.length)] as Recipient;
    const parcel = await recipient.endpoint.writeParcel(undefined, Date.now(), somePayload(chance));
    ledger.sent(parcel);
    const fate = ledger.fate(parcel);
    while (!fate.accepted && !isOver()) {
      try {
        await send(parcel);
        fate.accepted = true;
      } catch (error) {
        await afterAbsence(error);
      }
    }
  }
}

/** Collects over and over, acknowledging most. */
async function collect(
  { gateway, certificate }: Recipient,
  ledger: Ledger,
  isOver: () => boolean,
  chance: () => number,
): Promise<void> {
  while (!isOver()) {
    try {
      for await (const { parcel, acknowledge } of gateway.collect(certificate)) {
        const fate = ledger.fate(parcel);
        if (chance() >= ACKNOWLEDGED) {
          break;
        }
        fate.acknowledged = true;
        acknowledge();
      }
      await pause(RETRY_PAUSE);
    } catch (error) {
      await afterAbsence(error);
    }
  }
}

/** Empties a mailbox; gives how many parcels came that had been acknowledged before. */
async function collectRest({ gateway, certificate }: Recipient, ledger: Ledger): Promise<number> {
  let duplicates = 0;
  for await (const { parcel, acknowledge } of gateway.collect(certificate)) {
    const fate = ledger.fate(parcel);
    fate.rest = true;
    duplicates += fate.acknowledged ? 1 : 0;
    acknowledge();
  }
  for await (const { parcel } of gateway.collect(certificate)) {
    assert.fail(`Parcel ${digest(parcel)} was acknowledged to a living gateway and is delivered again`);
  }
  return duplicates;
}

/** Waits a little when the gateway was not there, or not there for long enough; anything else is wrong. */
async function afterAbsence(error: unknown): Promise<void> {
  if (!isAbsence(error)) {
    throw error;
  }
  await pause(RETRY_PAUSE);
}

function isAbsence(error: unknown): boolean {
  if (!(error instanceof DoctorFault)) {
    return false;
  }
  const isCutCollection = error.code === 'COLLECTION_CLOSED' && error.message.includes('1006');
  return isCutCollection || ['UNREACHABLE', 'CONNECTION_CLOSED', 'ANSWER_LATE'].includes(error.code);
}

/** Mostly small; some take several pages or writes, so that kills fall into their middle. */
function somePayload(chance: () => number): Buffer {
  const kind = chance();
  const octets = kind < 0.85 ? 1024 : kind < 0.97 ? 64 * 1024 : 1024 * 1024;
  const word = Math.floor(chance() * 2 ** 32).toString(16);
  return Buffer.alloc(octets, word);
}

function digest(parcel: Buffer): string {
  return createHash('sha256').update(parcel).digest('hex');
}
