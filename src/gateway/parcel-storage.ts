/** Where parcels wait in this gateway: mailboxes, outboxes, and what is held between the two. */
import { HeldParcels } from './held-parcels.ts';
import type { JournalWriter } from './journal.ts';
import { Mailboxes } from './mailbox.ts';
import { Outbox } from './outbox.ts';
import type { Amount, Clock, Meters, ObjectStore, Signals } from './ports.ts';

/** What one private gateway may have waiting, unless configured otherwise: of either kind. */
export const DEFAULT_QUOTA: Amount = { count: 10_000, octets: 1024 * 1024 * 1024 };

export class ParcelStorage {
  readonly mailboxes: Mailboxes;
  readonly outbox: Outbox;
  readonly held: HeldParcels;

  constructor(parts: {
    objects: ObjectStore;
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
    this.outbox = new Outbox({ objects, meters, clock, quota: outboxQuota });
    this.held = new HeldParcels({
      objects,
      meters,
      mailboxes: this.mailboxes,
      outbox: this.outbox,
      ...(journal && { journal }),
    });
  }
}
