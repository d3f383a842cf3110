/**
 * How much waits in this gateway, and for how long: counted a little at a time, so that the count costs the stores the
 * same however much there is. A figure is that of the last round that came to its end.
 */
import type { Clock, ObjectEntry, ObjectStore } from './ports.ts';

/** Where messages wait, and what their keys start with. */
const PLACES = { mailbox: 'mailboxes/', outbox: 'outbox/', held: 'held/', cargo: 'cargo/' } as const;

export type WaitingPlace = keyof typeof PLACES;

/** Mailboxes that one round tells apart; with more, the largest is that of those. */
const MOST_MAILBOXES = 100_000;

/** What waits in one place. */
export interface Waiting {
  readonly place: WaitingPlace;
  readonly count: number;
  readonly octets: number;
  /** When the oldest came, in milliseconds; undefined where nothing waits. */
  readonly oldest: number | undefined;
  /** How many owners have something there: mailboxes that are not empty, for instance. */
  readonly owners: number;
  /** How much the owner with most has. */
  readonly most: { readonly count: number; readonly octets: number };
  /** When the count was complete, in milliseconds. */
  readonly counted: number;
}

/** A round that goes on. */
interface Round {
  readonly entries: AsyncIterator<ObjectEntry>;
  count: number;
  octets: number;
  oldest: number | undefined;
  readonly owners: Map<string, { count: number; octets: number }>;
}

export class WaitingCensus {
  private readonly objects: ObjectStore;
  private readonly clock: Clock;
  private readonly rounds = new Map<WaitingPlace, Round>();
  private readonly results = new Map<WaitingPlace, Waiting>();

  constructor({ objects, clock }: { objects: ObjectStore; clock: Clock }) {
    this.objects = objects;
    this.clock = clock;
  }

  /** The last complete count of each place; nothing of those that were never counted. */
  waiting(): Iterable<Waiting> {
    return this.results.values();
  }

  /** Goes on with the count of each place, by `most` messages. For housekeeping. @throws StoreError */
  async count(most: number): Promise<void> {
    for (const place of Object.keys(PLACES) as WaitingPlace[]) {
      await this.countPlace(place, most);
    }
  }

  private async countPlace(place: WaitingPlace, most: number): Promise<void> {
    const round = this.rounds.get(place) ?? this.begin(place);
    try {
      for (let seen = 0; seen < most; seen++) {
        const next = await round.entries.next();
        if (next.done) {
          this.end(place, round);
          return;
        }
        add(round, next.value);
      }
    } catch (error) {
      // A list that failed is begun anew.
      this.rounds.delete(place);
      throw error;
    }
  }

  private begin(place: WaitingPlace): Round {
    const entries = this.objects.list(PLACES[place])[Symbol.asyncIterator]();
    const round = { entries, count: 0, octets: 0, oldest: undefined, owners: new Map() };
    this.rounds.set(place, round);
    return round;
  }

  private end(place: WaitingPlace, { count, octets, oldest, owners }: Round): void {
    this.rounds.delete(place);
    const most = { count: 0, octets: 0 };
    for (const owner of owners.values()) {
      most.count = Math.max(most.count, owner.count);
      most.octets = Math.max(most.octets, owner.octets);
    }
    this.results.set(place, { place, count, octets, oldest, owners: owners.size, most, counted: this.clock.now() });
  }
}

function add(round: Round, { key, size, arrival }: ObjectEntry): void {
  round.count++;
  round.octets += size;
  round.oldest = Math.min(round.oldest ?? arrival, arrival);
  const name = key.split('/', 2)[1] ?? '';
  let owner = round.owners.get(name);
  if (!owner && round.owners.size < MOST_MAILBOXES) {
    owner = { count: 0, octets: 0 };
    round.owners.set(name, owner);
  }
  if (owner) {
    owner.count++;
    owner.octets += size;
  }
}
