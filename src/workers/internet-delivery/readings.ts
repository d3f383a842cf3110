/**
 * Reads the parcels whose turn it is: all that begin in one turn of the event loop with one look into the store. Whether they
 * were sent before is asked as they are taken in hand, of all that are taken together.
 */
import { type Outbox, readOutboxKey } from '../../gateway/outbox.ts';
import type { StoredObject, TakenItem } from '../../gateway/ports.ts';
import type { SentMemory } from '../../gateway/sent-memory.ts';
import { SECOND } from '../../gateway/time.ts';

/** For so long what was asked holds, in milliseconds: another outbox may have the same parcel, and it be sent from there. */
const HOLDS = SECOND;

export interface Reading {
  /** Undefined where it is gone. */
  readonly stored: StoredObject | undefined;
  /** Of what was sent under its ids, for `wasSent` and `alsoSent`. */
  readonly sentBefore: string | undefined;
}

interface Wanted {
  readonly key: string;
  readonly resolve: (stored: StoredObject | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** What was asked of those that were taken in hand together. */
interface Asked {
  /** By `performance.now()`. */
  readonly at: number;
  /** Fingerprints by digest; undefined where the store was away. */
  readonly fingerprints: Promise<ReadonlyMap<string, string | undefined> | undefined>;
}

export class Readings {
  private readonly outbox: Outbox;
  private readonly sent: SentMemory;
  private readonly asked = new WeakMap<TakenItem, Asked>();
  private wanted: Wanted[] = [];

  constructor(parts: { outbox: Outbox; sent: SentMemory }) {
    this.outbox = parts.outbox;
    this.sent = parts.sent;
  }

  /** Asks of those that were taken in hand together whether they were sent before. */
  ask(items: readonly TakenItem[]): void {
    const digests = items.map(({ key }) => readOutboxKey(key).digest);
    const fingerprints = this.sent.fingerprints(digests).then(
      (found) => new Map(digests.map((digest, index) => [digest, found[index]])),
      () => undefined,
    );
    const asked = { at: performance.now(), fingerprints };
    for (const item of items) {
      this.asked.set(item, asked);
    }
  }

  /** @param digest of the parcel @throws StoreError */
  async read(item: TakenItem, digest: string): Promise<Reading> {
    const stored = this.stored(item.key);
    const sentBefore = await this.sentBefore(item, digest).catch((error: unknown) => {
      stored.catch(() => undefined);
      throw error;
    });
    return { stored: await stored, sentBefore };
  }

  private async sentBefore(item: TakenItem, digest: string): Promise<string | undefined> {
    const asked = this.asked.get(item);
    const found = asked && performance.now() - asked.at < HOLDS ? await asked.fingerprints : undefined;
    return found ? found.get(digest) : (await this.sent.fingerprints([digest]))[0];
  }

  private stored(key: string): Promise<StoredObject | undefined> {
    return new Promise((resolve, reject) => {
      if (this.wanted.push({ key, resolve, reject }) === 1) {
        setImmediate(() => void this.readWanted());
      }
    });
  }

  /** Never rejects. */
  private async readWanted(): Promise<void> {
    const { wanted } = this;
    this.wanted = [];
    try {
      const stored = await this.outbox.readAll(wanted.map(({ key }) => key));
      for (const [index, { resolve }] of wanted.entries()) {
        resolve(stored[index]);
      }
    } catch (error) {
      for (const { reject } of wanted) {
        reject(error);
      }
    }
  }
}
