/**
 * The examination: all that a private gateway does with an Internet gateway, from registration to acknowledgement.
 */
import type { ConnectionParams } from '../awala/connection-params.ts';
import type { Registration } from '../awala/poweb/registration.ts';
import type { CollectedParcel } from './collection.ts';
import { Endpoint } from './endpoint.ts';
import { DoctorFault } from './fault.ts';
import { deliverByPoHttp } from './internet-endpoint.ts';
import { fetchConnectionParams, PrivateGateway, probe } from './private-gateway.ts';
import { checkRegistration } from './registration-check.ts';
import { type Step, type StepObserver, Steps } from './step.ts';

const MINUTE = 60_000;

/** The protocol tolerates two hours between the clocks of a private node and a gateway. */
const MAX_CLOCK_DIFFERENCE = 120 * MINUTE;

export interface ExaminationOptions {
  /** Of PoWeb, without `/v1`. */
  readonly url: URL;
  /** Of PoHTTP, if it is to be examined too. */
  readonly pohttp: URL | undefined;
  /** Of CogRPC, if it is to be examined too. */
  readonly cargo: URL | undefined;
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
  private readonly url: URL;
  private readonly pohttp: URL | undefined;
  private readonly cargo: URL | undefined;
  private readonly steps: Steps;
  private readonly signal: AbortSignal;

  constructor({ url, pohttp, cargo }: ExaminationOptions, steps: Steps, signal: AbortSignal) {
    this.url = url;
    this.pohttp = pohttp;
    this.cargo = cargo;
    this.steps = steps;
    this.signal = signal;
  }

  /** Runs each step that can run, and gives what the gateway says of itself. */
  async run(): Promise<ConnectionParams | undefined> {
    const { steps, url, signal } = this;
    const clock = await steps.run('probe', url, () => this.probe());
    await steps.run('clock', clock, compareClocks);
    const params = await steps.run('connection-parameters', clock, async () => {
      const value = await fetchConnectionParams(url, signal);
      return { value, detail: `${value.internetAddress}, node ${value.identityKey.nodeId}` };
    });
    const authorized = await steps.run('pre-registration', params, async () => {
      const gateway = await PrivateGateway.create(url, signal);
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
    const sent = await this.send(ready);
    await this.collect(ready, sent);
    if (this.cargo) {
      // Loaded only here: the gRPC library takes its time.
      const { examineCargo } = await import('./cargo-examination.ts');
      await examineCargo(steps, ready && { ...ready, url: this.cargo, key: ready.gateway.key, signal });
    }
    return params;
  }

  /** Sends a parcel by each door, and gives those that were accepted. */
  private async send(ready: Ready | undefined): Promise<SentParcel[]> {
    const { steps, pohttp } = this;
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
  private async probe() {
    const before = Date.now();
    const { date } = await probe(this.url, this.signal);
    const middle = (before + Date.now()) / 2;
    // The header has whole seconds: on average half of one was cut off.
    const difference = date === undefined ? undefined : date + 500 - middle;
    return { value: { difference }, detail: `${this.url.host} answers` };
  }
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
