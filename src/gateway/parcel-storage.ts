/** Where parcels wait in this gateway: mailboxes, outboxes, and what is held between the two. */
import { HeldParcels } from './held-parcels.ts';
import { InternetQueue } from './internet-queue.ts';
import type { JournalWriter } from './journal.ts';
import { Mailboxes } from './mailbox.ts';
import { Outbox } from './outbox.ts';
import type { Amount, Clock, Meters, ObjectStore, Records, Signals, WorkQueue } from './ports.ts';
import { SentMemory } from './sent-memory.ts';

/** What one private gateway may have waiting, unless configured otherwise: of either kind. */
export const DEFAULT_QUOTA: Amount = { count: 10_000, octets: 1024 * 1024 * 1024 };

export class ParcelStorage {
  readonly mailboxes: Mailboxes;
  readonly outbox: Outbox;
  readonly held: HeldParcels;
  /** What is to be done about outboxes. */
  readonly internetQueue: InternetQueue;
  /** What has left them. */
  readonly sent: SentMemory;

  constructor(parts: {
    objects: ObjectStore;
    records: Records;
    work: WorkQueue;
    signals: Signals;
    meters: Meters;
    clock: Clock;
    mailboxQuota?: Amount;
    outboxQuota?: Amount;
    journal?: JournalWriter;
  }) {
    const {
      objects,
      signals,
      meters,
      clock,
      journal,
      mailboxQuota = DEFAULT_QUOTA,
      outboxQuota = DEFAULT_QUOTA,
    } = parts;
    this.mailboxes = new Mailboxes({ objects, signals, meters, clock, quota: mailboxQuota });
    this.internetQueue = new InternetQueue({ work: parts.work, signals });
    this.sent = new SentMemory({ records: parts.records });
    this.outbox = new Outbox({ objects, queue: this.internetQueue, meters, clock, quota: outboxQuota });
    this.held = new HeldParcels({
      objects,
      meters,
      mailboxes: this.mailboxes,
      outbox: this.outbox,
      ...(journal && { journal }),
    });
  }
}
