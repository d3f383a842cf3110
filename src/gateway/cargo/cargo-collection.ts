/**
 * One collection of cargo: makes cargo as the courier takes it, and spends its authorization (CCA) when all was
 * acknowledged.
 *
 * A courier acknowledges cargo before it has stored it, so that an acknowledgement only makes room for more, and is noted
 * for a retry under the same CCA. Parcels stay in the mailbox until their private gateway says that it has them.
 */

import type { AwalaError } from '../../awala/errors.ts';
import type { Certificate } from '../../awala/pki/certificate.ts';
import type { ChannelSessions } from '../channel-sessions.ts';
import type { GatewayError } from '../errors.ts';
import { giveBack } from '../give-back.ts';
import type { JournalWriter } from '../journal.ts';
import { waitedSince } from '../parcel-at-rest.ts';
import { DAY, SECOND } from '../time.ts';
import { newUuid } from '../uuid.ts';
import { CargoContents, type CargoContentsParts } from './cargo-contents.ts';
import type { CargoLoads } from './cargo-loads.ts';
import { CargoPace } from './cargo-pace.ts';
import { type PackedCargo, packCargoes } from './cargo-packing.ts';
import { type CargoAddress, type CargoWriter, cargoOverhead } from './cargo-writer.ts';
import type { CcaClaim } from './cca-claims.ts';

/** How many cargoes may be unacknowledged at once. */
const WINDOW = 5;

/** Acknowledgements are noted no more often, in milliseconds, and when the call ends: each note costs a write. */
const NOTE_INTERVAL = SECOND / 4;

/** How long it is remembered when a private gateway's last collection was: longer than any acknowledgement is owed. */
const COLLECTION_MEMORY = 200 * DAY;

/** Octets of cargo, envelope included. */
export interface CargoSizes {
  /** Of the first of a collection. */
  readonly start: number;
  /** Of the largest that is not made of one single message. */
  readonly most: number;
}

export const DEFAULT_CARGO_SIZES: CargoSizes = { start: 64 * 1024, most: 1024 * 1024 };

export interface CargoCollectionParts extends CargoContentsParts {
  readonly writer: CargoWriter;
  readonly sessions: ChannelSessions;
  readonly loads: CargoLoads;
  readonly journal: JournalWriter;
  readonly sizes: CargoSizes;
}

export interface OutgoingCargo {
  /** UUID, version 4. */
  readonly id: string;
  /** In pieces, in memory of its own: whoever has sent it may give them back. */
  readonly cargo: readonly Uint8Array[];
  /** Of all pieces. */
  readonly octets: number;
}

/** A cargo that was sent and is not acknowledged yet. */
interface Unacknowledged {
  readonly digests: Buffer;
  readonly octets: number;
  /** ms since 1970 */
  readonly sent: number;
}

export class CargoCollection implements Disposable {
  private readonly parts: CargoCollectionParts;
  private readonly address: CargoAddress;
  private readonly claim: CcaClaim;
  private readonly pace: CargoPace;
  private readonly unacknowledged = new Map<string, Unacknowledged>();
  private readonly forbidden = new AbortController();
  private readonly onDisposed: () => void;
  /** Resolves what waits for something to happen. */
  private wake: () => void = () => undefined;
  /** Digests of what was acknowledged and is not noted yet. */
  private toNote: Buffer[] = [];
  /** What arrived up to then is noted as loaded: ms since 1970. */
  private loadedUntil = 0;
  private noting: Promise<void> | undefined;
  /** When acknowledgements were noted last: ms since 1970. */
  private lastNote = 0;
  private failure: unknown;
  /** How many cargoes were sent. */
  cargoes = 0;
  /** How many messages were in them. */
  items = 0;
  /** How many octets they had. */
  octets = 0;

  /** @param onDisposed called when nobody collects any more */
  constructor(parts: CargoCollectionParts, address: CargoAddress, claim: CcaClaim, onDisposed = () => {}) {
    this.parts = parts;
    this.onDisposed = onDisposed;
    this.address = address;
    this.claim = claim;
    this.pace = new CargoPace(parts.sizes.start, parts.sizes.most, claim.fruitlessCalls);
  }

  /** The certificate of the private gateway that the cargo is for. */
  get recipient(): Certificate {
    return this.address.recipient;
  }

  /** How many cargoes the courier has not acknowledged. */
  get inFlight(): number {
    return this.unacknowledged.size;
  }

  /**
   * Makes all cargo, each when there is room for it in the window; ends when all was acknowledged and the CCA is spent.
   *
   * @param signal when it aborts, the courier has gone
   * @throws GatewayError CCA_SUPERSEDED; what it was forbidden with; StoreError; the signal's reason; Error when a key's
   *   keeper does not sign
   */
  async *deliveries(signal: AbortSignal): AsyncGenerator<OutgoingCargo> {
    const { parts, claim, address } = this;
    const ended = AbortSignal.any([signal, claim.signal, this.forbidden.signal]);
    const wake = () => this.wake();
    ended.addEventListener('abort', wake);
    try {
      await using session = parts.sessions.messagesTo(address.recipient.subjectId);
      const began = parts.clock.now();
      const contents = new CargoContents(parts, {
        recipient: address.recipient,
        largestShared: this.roomWithin(claim.fruitlessCalls > 0 ? this.pace.octets : parts.sizes.most),
        acknowledged: claim.acknowledged,
      });
      for await (const packed of packCargoes(contents.items(), () => this.roomWithin(this.pace.octets))) {
        const cargo = await parts.writer.write(packed, address, session);
        for (const { bytes } of packed.items) {
          giveBack(bytes);
        }
        await this.until(() => this.unacknowledged.size < WINDOW, ended);
        await this.noteLoaded(packed);
        await claim.check();
        yield this.send(packed, cargo);
      }
      await this.until(() => this.unacknowledged.size === 0, ended);
      await this.noting;
      await this.until(() => true, ended);
      await claim.spend();
      this.toNote = [];
      const { subjectId } = address.recipient;
      await parts.records.put('cargo-collections', subjectId, { began }, began + COLLECTION_MEMORY);
    } finally {
      ended.removeEventListener('abort', wake);
      // For the next call under this CCA.
      await this.note();
    }
  }

  /** Takes a courier's acknowledgement; one of an unknown cargo means nothing. */
  acknowledge(id: string): void {
    const cargo = this.unacknowledged.get(id);
    if (!cargo) {
      return;
    }
    this.unacknowledged.delete(id);
    this.pace.acknowledged(cargo.octets, this.parts.clock.now() - cargo.sent);
    this.toNote.push(cargo.digests);
    if (this.parts.clock.now() - this.lastNote >= NOTE_INTERVAL) {
      void this.note();
    }
    this.wake();
  }

  /** Ends it: what authorized it does so no longer. */
  forbid(why: AwalaError | GatewayError): void {
    this.forbidden.abort(why);
  }

  /** Ends the claim's interest in newer calls. */
  [Symbol.dispose](): void {
    this.claim.release();
    this.onDisposed();
  }

  private send({ items }: PackedCargo, cargo: readonly Uint8Array[]): OutgoingCargo {
    const { clock, random, journal } = this.parts;
    const id = newUuid(random);
    const digests = Buffer.from(items.map(({ digest }) => digest).join(''), 'latin1');
    const octets = cargo.reduce((sum, piece) => sum + piece.length, 0);
    const now = clock.now();
    this.unacknowledged.set(id, { digests, octets, sent: now });
    this.cargoes++;
    this.items += items.length;
    this.octets += octets;
    for (const { ids, arrival = now } of items) {
      if (ids) {
        journal.record({ event: 'loaded', door: 'cargo', ...ids, waited: waitedSince(arrival, now) });
      }
    }
    return { id, cargo, octets };
  }

  /** Before any of it leaves: a private gateway cannot have what is not noted. */
  private async noteLoaded({ items }: PackedCargo): Promise<void> {
    const newest = items.reduce((latest, { arrival = 0 }) => Math.max(latest, arrival), 0);
    if (newest > this.loadedUntil) {
      this.loadedUntil = Math.max(newest, this.parts.clock.now());
      await this.parts.loads.note(this.address.recipient.subjectId, this.loadedUntil);
    }
  }

  /** Notes what was acknowledged, several cargoes at a time where they come fast. Never rejects. */
  private note(): Promise<void> {
    this.noting ??= this.noteAll().finally(() => {
      this.noting = undefined;
    });
    return this.noting;
  }

  private async noteAll(): Promise<void> {
    try {
      while (this.toNote.length > 0) {
        const digests = this.toNote;
        this.toNote = [];
        this.lastNote = this.parts.clock.now();
        await this.claim.note(Buffer.concat(digests));
      }
    } catch (error) {
      this.failure ??= error;
      this.wake();
    }
  }

  /** Octets that are left for messages in a cargo of so many. */
  private roomWithin(octets: number): number {
    return Math.max(0, octets - cargoOverhead(this.address));
  }

  /** Resolves as soon as the condition holds. @throws what ended the collection */
  private async until(condition: () => boolean, ended: AbortSignal): Promise<void> {
    for (;;) {
      ended.throwIfAborted();
      if (this.failure !== undefined) {
        throw this.failure;
      }
      if (condition()) {
        return;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
