/** Where a parcel waits now: looked up in the places that its journal names. */
import { heldKey } from './held-key.ts';
import { outboxKey } from './outbox.ts';
import { parcelDigest } from './parcel-at-rest.ts';
import type { ParcelStorage } from './parcel-storage.ts';
import type { JournalEntry, ObjectEntry } from './ports.ts';

/** Times in milliseconds. */
export interface Whereabouts {
  readonly place: 'mailbox' | 'outbox' | 'held';
  /** Since when. */
  readonly since: number;
  readonly expiry: number;
  /** Octets. */
  readonly size: number;
  /** In an outbox: when it is tried next; now or earlier when it waits for a worker. */
  readonly next?: number;
  /** In an outbox: how often it was postponed. */
  readonly attempts?: number;
}

/**
 * Everywhere that one parcel waits.
 *
 * @param events what the journal knows of it
 * @throws StoreError
 */
export async function whereabouts(events: readonly JournalEntry[], storage: ParcelStorage): Promise<Whereabouts[]> {
  const found = new Map<string, Whereabouts>();
  const add = (place: Whereabouts['place'], entry: ObjectEntry | undefined, attempt: Partial<Whereabouts> = {}) => {
    if (entry) {
      const { arrival: since, expiry, size } = entry;
      found.set(entry.key, { place, since, expiry, size, ...attempt });
    }
  };
  for (const { parcel, sender, recipient, mailbox, peer, destination } of events) {
    if (parcel === undefined || sender === undefined || recipient === undefined) {
      continue;
    }
    const digest = parcelDigest({ sender, recipient, messageId: parcel });
    if (mailbox !== undefined) {
      add('mailbox', await storage.mailboxes.find(mailbox, digest));
    }
    if (mailbox !== undefined && peer !== undefined) {
      add('held', await storage.outbox.find(heldKey(mailbox, peer, digest)));
    }
    if (destination !== undefined && peer !== undefined) {
      const entry = await storage.outbox.find(outboxKey(peer, digest));
      add('outbox', entry, entry && (await nextAttempt(storage, entry.key, destination)));
    }
  }
  return [...found.values()];
}

async function nextAttempt({ internetQueue }: ParcelStorage, key: string, destination: string) {
  for await (const item of internetQueue.list(destination)) {
    if (item.key === key) {
      const rest = (await internetQueue.destination(destination))?.rest ?? 0;
      return { next: Math.max(item.due, rest), attempts: item.attempts };
    }
  }
  return {};
}
