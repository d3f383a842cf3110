/**
 * The examination: all that a private gateway does with an Internet gateway, from registration to acknowledgement.
 */
import type { ConnectionParams } from '../awala/connection-params.ts';
import type { Registration } from '../awala/poweb/registration.ts';
import type { CollectedParcel } from './collection.ts';
import { type Door, discover, type FoundDoors } from './discovery.ts';
import { Endpoint } from './endpoint.ts';
import { DoctorFault } from './fault.ts';
import { deliverByPoHttp } from './internet-endpoint.ts';
import { fetchConnectionParams, PrivateGateway, probe } from './private-gateway.ts';
import { checkRegistration } from './registration-check.ts';
import { type Step, type StepObserver, Steps } from './step.ts';
import { checkTls } from './tls-check.ts';

const MINUTE = 60_000;

/** The protocol tolerates two hours between the clocks of a private node and a gateway. */
const MAX_CLOCK_DIFFERENCE = 120 * MINUTE;

/** Where the doors are that are to be examined. */
export interface GivenDoors {
  /** Of PoWeb, without `/v1`. */
  readonly url: URL;
  /** Of collection, where another process has it than PoWeb, and nothing before them brings the two together. */
  readonly collection?: URL | undefined;
  /** Of PoHTTP, if it is to be examined too. */
  readonly pohttp: URL | undefined;
  /** Of CogRPC, if it is to be examined too. */
  readonly cargo: URL | undefined;
}

/** The Internet address whose doors are to be found, and all of them examined. */
export interface NamedGateway {
  readonly address: string;
  /** A DNS-over-HTTPS resolver that validates DNSSEC. */
  readonly resolver: URL;
}

export interface ExaminationOptions {
  readonly gateway: GivenDoors | NamedGateway;
  /** How long the whole may take, in milliseconds. */
  readonly deadline: number;
}

export interface ExaminationReport {
  readonly isHealthy: boolean;
  readonly milliseconds: number;
  /** Who the gateway says it is, once it did. */
  readonly gateway: { readonly nodeId: string; readonly internetAddress: string } | undefined;
  readonly steps: readonly Step[];
}

/** Examines a gateway. Finds faults and gives them in the report; throws only what is a fault of its own. */
export async function examine(options: ExaminationOptions, observer: StepObserver): Promise<ExaminationReport> {
  const start = performance.now();
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort(
      new DoctorFault(
        'DEADLINE_EXCEEDED',
        `The examination took longer than ${options.deadline / 1000} s`,
        'Look at what took long above; allow more with --timeout',
      ),
    );
  }, options.deadline);
  try {
    const steps = new Steps(observer);
    const params = await new Examination(options, steps, deadline.signal).run();
    return {
      isHealthy: steps.ended.every((step) => step.outcome === 'ok'),
      milliseconds: Math.round(performance.now() - start),
      gateway: params && { nodeId: params.identityKey.nodeId, internetAddress: params.internetAddress },
      steps: steps.ended,
    };
  } finally {
    clearTimeout(timer);
  }
}

/** A parcel that the gateway accepted, and the door that it came in by. */
interface SentParcel {
  readonly bytes: Buffer;
  readonly door: 'PoWeb' | 'PoHTTP';
}

/** What the exchange of parcels needs. */
interface Ready {
  readonly gateway: PrivateGateway;
  readonly registration: Registration;
  readonly endpoint: Endpoint;
}

class Examination {
  private readonly given: GivenDoors | NamedGateway;
  private readonly steps: Steps;
  private readonly signal: AbortSignal;

  constructor({ gateway }: ExaminationOptions, steps: Steps, signal: AbortSignal) {
    this.given = gateway;
    this.steps = steps;
    this.signal = signal;
  }

  /** Runs each step that can run, and gives what the gateway says of itself. */
  async run(): Promise<ConnectionParams | undefined> {
    const { steps, given, signal } = this;
    const doors = 'address' in given ? await discover(steps, { ...given, signal }) : doorsOf(given);
    const { poweb, pohttp } = doors;
    const reached = await steps.run('probe', poweb, (url) => this.probe(url));
    await steps.run('clock', reached, compareClocks);
    for (const [door, url] of Object.entries(doors) as [Door, URL][]) {
      // Of PoWeb, whatever keeps clients from it has been told already.
      if (url.protocol === 'https:' && (door !== 'poweb' || reached)) {
        await steps.run(`tls-${door}`, url, () => checkTls(url, signal));
      }
    }
    const params = await steps.run('connection-parameters', reached, async ({ url }) => {
      const value = await fetchConnectionParams(url, signal);
      if ('address' in given && value.internetAddress !== given.address) {
        throw new DoctorFault(
          'ANSWER_WRONG',
          `The gateway there says that it is ${value.internetAddress}`,
          'Give it the address as INTERNET_ADDRESS before anybody registers, or mend the SRV records',
        );
      }
      return { value, detail: `${value.internetAddress}, node ${value.identityKey.nodeId}` };
    });
    const authorized = await steps.run('pre-registration', params, async () => {
      const collection = 'collection' in given ? given.collection : undefined;
      const gateway = await PrivateGateway.create(poweb as URL, signal, collection);
      const authorization = await gateway.preRegister();
      return { value: { gateway, authorization }, detail: `authorized node ${gateway.key.publicKey.nodeId}` };
    });
    const registered = await steps.run('registration', authorized, async ({ gateway, authorization }) => {
      const registration = await gateway.register(authorization);
      checkRegistration(registration, gateway.key.publicKey, params as ConnectionParams, Date.now());
      const end = new Date(registration.nodeCertificate.notAfter).toISOString().slice(0, 10);
      return { value: { gateway, registration }, detail: `certificate until ${end}; chain, dates and names are right` };
    });
    const ready = await steps.run('endpoint', registered, async ({ gateway, registration }) => {
      signal.throwIfAborted();
      const endpoint = await Endpoint.create({ key: gateway.key, certificate: registration.nodeCertificate });
      const detail = 'endpoint certificate and delivery authorization issued';
      return { value: { gateway, registration, endpoint }, detail };
    });
    const sent = await this.send(ready, pohttp);
    await this.collect(ready, sent);
    if (doors.cogrpc) {
      // Loaded only here: the gRPC library takes its time.
      const { examineCargo } = await import('./cargo-examination.ts');
      await examineCargo(steps, ready && { ...ready, url: doors.cogrpc, key: ready.gateway.key, signal });
    }
    return params;
  }

  /** Sends a parcel by each door, and gives those that were accepted. */
  private async send(ready: Ready | undefined, pohttp: URL | undefined): Promise<SentParcel[]> {
    const { steps } = this;
    const sent: (SentParcel | undefined)[] = [];
    sent.push(
      await steps.run('poweb-delivery', ready, async ({ gateway, registration, endpoint }) => {
        const bytes = await endpoint.writeParcel(undefined, Date.now());
        await gateway.deliver(bytes, registration.nodeCertificate);
        return { value: { bytes, door: 'PoWeb' as const }, detail: `parcel of ${bytes.length} octets accepted` };
      }),
    );
    if (pohttp) {
      sent.push(
        await steps.run('pohttp-delivery', ready, async ({ registration, endpoint }) => {
          const bytes = await endpoint.writeParcel(registration.internetAddress, Date.now());
          await deliverByPoHttp(pohttp, bytes, this.signal);
          return { value: { bytes, door: 'PoHTTP' as const }, detail: `parcel of ${bytes.length} octets accepted` };
        }),
      );
    }
    return sent.filter((parcel) => parcel !== undefined);
  }

  /** Collects what was accepted, and sees that it is gone once acknowledged. */
  private async collect(ready: Ready | undefined, sent: readonly SentParcel[]): Promise<void> {
    const { steps } = this;
    const waiting = sent.length > 0 ? ready : undefined;
    const collected = await steps.run('collection', waiting, async ({ gateway, registration }) => {
      await compareParcels(gateway.collect(registration.nodeCertificate), sent);
      const detail = `${sent.length} collected, the same octet by octet, and acknowledged`;
      return { value: { gateway, registration }, detail };
    });
    await steps.run('deletion', collected, async ({ gateway, registration }) => {
      for await (const _ of gateway.collect(registration.nodeCertificate)) {
        throw new DoctorFault(
          'PARCEL_NOT_DELETED',
          'An acknowledged parcel was delivered again',
          "The gateway does not delete what was acknowledged: look into its log, and at its stores' room and rights",
        );
      }
      return { value: true, detail: 'what was acknowledged is not delivered again' };
    });
  }

  /** Reaches the gateway, and measures how far its clock is ahead of ours, in milliseconds. */
  private async probe(url: URL) {
    const before = Date.now();
    const { date } = await probe(url, this.signal);
    const middle = (before + Date.now()) / 2;
    // The header has whole seconds: on average half of one was cut off.
    const difference = date === undefined ? undefined : date + 500 - middle;
    return { value: { url, difference }, detail: `${url.host} answers` };
  }
}

function doorsOf({ url, pohttp, cargo }: GivenDoors): FoundDoors {
  return { poweb: url, ...(pohttp && { pohttp }), ...(cargo && { cogrpc: cargo }) };
}

async function compareClocks({ difference }: { difference: number | undefined }) {
  if (difference === undefined) {
    return { value: true, detail: 'the gateway does not tell its time' };
  }
  const seconds = Math.round(Math.abs(difference) / 1000);
  const relation = `the gateway's clock is ${seconds} s ${difference < 0 ? 'behind' : 'ahead'}`;
  if (Math.abs(difference) > MAX_CLOCK_DIFFERENCE) {
    throw new DoctorFault(
      'CLOCKS_DIFFER',
      `${relation}; two hours are tolerated`,
      'Set the wrong one of the two clocks, here or there, by NTP',
    );
  }
  return { value: true, detail: Math.abs(difference) < MINUTE ? 'both clocks agree' : relation };
}

/** Collects until the gateway says that nothing more waits, and compares each parcel with those that were sent. */
async function compareParcels(collection: AsyncIterable<CollectedParcel>, sent: readonly SentParcel[]): Promise<void> {
  const missing = new Set(sent);
  for await (const { parcel, acknowledge } of collection) {
    const match = [...missing].find(({ bytes }) => bytes.equals(parcel));
    if (!match) {
      throw new DoctorFault(
        'PARCEL_ALTERED',
        `A parcel of ${parcel.length} octets was delivered that is none of those sent, octet by octet`,
        'The gateway or a proxy changes parcels, or delivers one twice: update the one, and let the other pass bodies on as they are',
      );
    }
    missing.delete(match);
    acknowledge();
  }
  for (const { door } of missing) {
    throw new DoctorFault(
      'PARCEL_LOST',
      `The parcel that ${door} accepted was not among those collected`,
      door === 'PoHTTP'
        ? 'Check that both URLs lead to one gateway, and that all its processes have the same stores (DATA_DIR)'
        : "Check that all the gateway's processes have the same stores (DATA_DIR), and look into its log",
    );
  }
}
