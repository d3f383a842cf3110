/**
 * What private gateways do all the while: one delivers parcels, each again until it is acknowledged, and another collects
 * in keep-alive mode, coming back whenever it is sent away.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { Parcel, StreamingMode } from '@relaycorp/relaynet-core';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from '../../support/official-client.ts';
import { isTimeout, withPatience } from './busy.ts';

/** Between two parcels, in milliseconds. */
const PERIOD = 100;

/** How long a client waits before it comes back, in milliseconds. */
const PAUSE = 250;

/** How long deployed clients wait for an answer, in milliseconds; the official one has less patience with its own machine. */
const TIMEOUT = 5000;

/** How long what was acknowledged may take to be collected, in milliseconds. */
const PATIENCE = 180_000;

const PAYLOAD = Buffer.alloc(2048, 7);

/** What was noticed since the last look. */
export interface Noticed {
  /** How many parcels were acknowledged. */
  readonly acknowledged: number;
  /** Deliveries that failed, and were tried again. */
  readonly failures: readonly string[];
  /** Why collections ended. */
  readonly closings: readonly string[];
  /** The longest time without an acknowledged delivery, in milliseconds. */
  readonly longestSilence: number;
}

export class Traffic implements AsyncDisposable {
  readonly #acknowledged = new Set<string>();
  readonly #collected = new Set<string>();
  readonly #stopped = new AbortController();
  readonly #recipient: OfficialPrivateGateway;
  readonly #endpoint: OfficialEndpoint;
  readonly #sender: OfficialSender;
  readonly #origin: OfficialPrivateGateway;
  #failures: string[] = [];
  #closings: string[] = [];
  #count = 0;
  #lastAcknowledgement = performance.now();
  #longestSilence = 0;
  #delivering = Promise.resolve();
  #isOver = false;

  private constructor(
    recipient: OfficialPrivateGateway,
    endpoint: OfficialEndpoint,
    origin: OfficialPrivateGateway,
    sender: OfficialSender,
  ) {
    this.#recipient = recipient;
    this.#endpoint = endpoint;
    this.#origin = origin;
    this.#sender = sender;
  }

  /**
   * Registers both and begins.
   *
   * @param poweb where registrations and deliveries go
   * @param collection where collections go
   */
  static async start(poweb: string, collection = poweb): Promise<Traffic> {
    const recipient = await register(poweb);
    const origin = await register(poweb);
    const endpoint = await recipient.newEndpoint();
    const sender = await endpoint.authorize(await newOfficialIdentity());
    const traffic = new Traffic(recipient.at(collection), endpoint, origin, sender);
    traffic.#delivering = traffic.#deliver();
    void traffic.#collect();
    return traffic;
  }

  /** Whether parcels come through at the moment: resolves when one that is sent from now on has been collected. */
  async flows(): Promise<void> {
    const first = this.#count + 1;
    const deadline = performance.now() + PATIENCE;
    while (![...this.#collected].some((id) => Number(id.split('-')[1]) >= first)) {
      if (performance.now() > deadline) {
        const { acknowledged, failures, closings } = this.look();
        const last = [...failures.slice(-1), ...closings.slice(-1)].join('; ');
        throw new Error(`Nothing came through after ${acknowledged} parcels were acknowledged: ${last}`);
      }
      await wait(PERIOD);
    }
  }

  /** What was noticed since the last look. */
  look(): Noticed {
    const acknowledged = this.#acknowledged.size;
    const noticed = {
      acknowledged,
      failures: this.#failures,
      closings: this.#closings,
      longestSilence: Math.round(Math.max(this.#longestSilence, performance.now() - this.#lastAcknowledgement)),
    };
    this.#failures = [];
    this.#closings = [];
    this.#longestSilence = 0;
    return noticed;
  }

  /** Stops delivering, and collects the rest. @returns the ids that were acknowledged and are lost */
  async stop(): Promise<{ acknowledged: number; lost: string[] }> {
    this.#stopped.abort();
    await this.#delivering;
    const deadline = performance.now() + PATIENCE;
    const lost = () => [...this.#acknowledged].filter((id) => !this.#collected.has(id));
    while (lost().length > 0 && performance.now() < deadline) {
      await wait(PERIOD);
    }
    this.#isOver = true;
    return { acknowledged: this.#acknowledged.size, lost: lost() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#stopped.abort();
    await this.#delivering;
  }

  async #deliver(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      this.#count += 1;
      const id = `parcel-${this.#count}`;
      const parcel = await this.#endpoint.writeParcel(this.#sender, PAYLOAD, { id });
      while (!(await this.#deliverOnce(parcel))) {
        await wait(PAUSE);
        if (this.#stopped.signal.aborted) {
          return;
        }
      }
      this.#acknowledged.add(id);
      const now = performance.now();
      this.#longestSilence = Math.max(this.#longestSilence, now - this.#lastAcknowledgement);
      this.#lastAcknowledgement = now;
      await wait(PERIOD);
    }
  }

  async #deliverOnce(parcel: ArrayBuffer): Promise<boolean> {
    try {
      await this.#origin.deliver(parcel);
      return true;
    } catch (error) {
      this.#failures.push((error as Error).message);
      return false;
    }
  }

  /** Ends with its connection, once all is over: a keep-alive collection has no other end. */
  async #collect(): Promise<void> {
    while (!this.#isOver) {
      try {
        for await (const collection of this.#recipient.collect(StreamingMode.KEEP_ALIVE)) {
          const { id } = await Parcel.deserialize(collection.parcelSerialized);
          await collection.ack();
          this.#collected.add(id);
        }
        this.#closings.push('ended');
      } catch (error) {
        this.#closings.push((error as Error).message);
      }
      await wait(PAUSE, undefined, { ref: false });
    }
  }
}

/** Registers, again where no answer comes in time, as clients do; what it returns waits as long as they. */
async function register(poweb: string): Promise<OfficialPrivateGateway> {
  const outcome = await withPatience(
    () => OfficialPrivateGateway.register(poweb).catch((error: Error) => error),
    (registered) => registered instanceof Error && isTimeout(registered.message),
  );
  if (outcome instanceof Error) {
    throw outcome;
  }
  const { internalAxios } = outcome.client as unknown as { internalAxios: { defaults: { timeout: number } } };
  internalAxios.defaults.timeout = TIMEOUT;
  return outcome;
}
