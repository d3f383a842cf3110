/**
 * Brings parcels that were sent to their end: remembered as sent, then no work any more, and deleted. Remembered first: the
 * same parcel may have come again meanwhile, and its work be taken as soon as this one's ends. After a crash in between, a
 * parcel that is found with or without work is found to have been sent, too, and deleted.
 *
 * Those that were sent within a few milliseconds go together, so that they share their syncs and the pages that they change.
 */
import type { InternetQueue } from '../../gateway/internet-queue.ts';
import type { Outbox } from '../../gateway/outbox.ts';
import type { ObjectEntry, TakenItem } from '../../gateway/ports.ts';
import type { SentMemory } from '../../gateway/sent-memory.ts';

/** For so long the first waits for others, in milliseconds. A crash has those sent once more that had gone meanwhile. */
const GATHERING_TIME = 50;

/** So many wait for no more: they change most pages of the store's indexes, whose keys are in no order, by then. */
const GATHERED = 200;

/** A parcel that its destination has. */
export interface SentParcelAtRest {
  readonly item: TakenItem;
  /** Node id of the private gateway whose outbox it is in. */
  readonly peer: string;
  readonly digest: string;
  /** As in `SentParcel`. */
  readonly fingerprints: string;
  readonly entry: Pick<ObjectEntry, 'key' | 'version' | 'size' | 'expiry'>;
}

interface Waiting extends SentParcelAtRest {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class Completions {
  private readonly parts: { sent: SentMemory; outbox: Outbox; queue: InternetQueue };
  private waiting: Waiting[] = [];
  private running: Promise<void> = Promise.resolve();
  /** Ends the gathering. */
  private enough: () => void = () => undefined;

  constructor(parts: { sent: SentMemory; outbox: Outbox; queue: InternetQueue }) {
    this.parts = parts;
  }

  /** Resolves when it is done and durable. @throws StoreError */
  add(parcel: SentParcelAtRest): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.waiting.push({ ...parcel, resolve, reject });
    if (this.waiting.length === 1) {
      this.running = this.running.then(() => this.completeGathered());
    } else if (this.waiting.length >= GATHERED) {
      this.enough();
    }
    return promise;
  }

  private async completeGathered(): Promise<void> {
    if (this.waiting.length < GATHERED) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, GATHERING_TIME);
        this.enough = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const { sent, outbox, queue } = this.parts;
    let batch = this.waiting;
    this.waiting = [];
    try {
      await sent.addAll(batch.map(({ digest, fingerprints, entry: { expiry } }) => ({ digest, fingerprints, expiry })));
    } catch {
      // Which of them it is that cannot be written is found out one by one.
      batch = await forAll(batch, ({ digest, fingerprints, entry }) => sent.add(digest, fingerprints, entry.expiry));
    }
    batch = await forAll(batch, ({ peer, entry, item }) =>
      Promise.all([queue.finish(item), outbox.remove(peer, entry)]),
    );
    for (const { resolve } of batch) {
      resolve();
    }
  }
}

/** Gives those for which it went well; the others hear why it did not. */
async function forAll(batch: readonly Waiting[], action: (parcel: Waiting) => Promise<unknown>): Promise<Waiting[]> {
  const outcomes = await Promise.allSettled(batch.map(action));
  return batch.filter(({ reject }, index) => {
    const outcome = outcomes[index];
    if (outcome?.status === 'rejected') {
      reject(outcome.reason);
      return false;
    }
    return true;
  });
}
