/**
 * Collections under random interleavings of all that can happen: puts, replacements, late and crossed and lost signals,
 * listings and reads that are held, acknowledgements in any order, forgetting.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import fc from 'fast-check';
import type { ParcelCollection } from '../../src/gateway/parcel-collection.ts';
import { SECOND } from '../../src/gateway/time.ts';
import { type CollectionRoom, type Delivered, type Outlet, openCollectionRoom } from '../support/collection-room.ts';
import type { Barriers } from '../support/held-stores.ts';

/** How long all may take to be collected in the end, in milliseconds. */
const PATIENCE = 10_000;

type Step =
  /** Puts a parcel; the same message id again is a replacement. */
  | { readonly kind: 'put'; readonly messageId: number }
  /** Holds signals back from now on. */
  | { readonly kind: 'hold-signals' }
  /** Lets one held signal go, in any order. */
  | { readonly kind: 'signal'; readonly place: number }
  /** Loses the held signals, and says so. */
  | { readonly kind: 'gap' }
  | { readonly kind: 'hold' | 'release'; readonly barrier: keyof Barriers }
  /** Acknowledges one of those in flight. */
  | { readonly kind: 'acknowledge'; readonly place: number }
  | { readonly kind: 'pass-time'; readonly seconds: number }
  /** Lets work go on for a while. */
  | { readonly kind: 'wait'; readonly milliseconds: number };

const barrierNames: (keyof Barriers)[] = [
  'beforeSubscribe',
  'afterSubscribe',
  'beforeList',
  'afterList',
  'beforeGet',
  'afterGet',
  'beforeDelete',
];

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('put' as const), messageId: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.constant({ kind: 'hold-signals' as const }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('signal' as const), place: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'gap' as const }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('hold' as const, 'release' as const),
      barrier: fc.constantFrom(...barrierNames),
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('acknowledge' as const), place: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass-time' as const), seconds: fc.nat(20) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('wait' as const), milliseconds: fc.nat(4) }) },
);

/** What the test knows of one connection. */
class Run {
  /** Octets of every parcel that was put, by message id, oldest first. */
  readonly put = new Map<string, string[]>();
  readonly delivered: string[] = [];
  readonly acknowledged = new Set<string>();
  private readonly room: CollectionRoom;
  private readonly collection: ParcelCollection;
  private readonly outlet: Outlet;
  private inFlight: Delivered[] = [];

  constructor(room: CollectionRoom, window: number) {
    this.room = room;
    const { collection, outlet } = room.collect({ window });
    this.collection = collection;
    this.outlet = outlet;
  }

  async take(step: Step): Promise<void> {
    const { room } = this;
    switch (step.kind) {
      case 'put': {
        const messageId = `message-${step.messageId}`;
        const parcel = String(await room.put(messageId));
        this.put.set(messageId, [...(this.put.get(messageId) ?? []), parcel]);
        break;
      }
      case 'hold-signals':
        room.signals.hold();
        break;
      case 'signal':
        room.signals.releaseOne(step.place % Math.max(1, room.signals.heldCount));
        break;
      case 'gap':
        room.signals.gap();
        break;
      case 'hold':
        room.barriers[step.barrier].hold();
        break;
      case 'release':
        room.barriers[step.barrier].release();
        break;
      case 'acknowledge':
        this.acknowledge(step.place);
        break;
      case 'pass-time':
        room.room.clock.advance(step.seconds * SECOND);
        this.collection.maintain();
        break;
      case 'wait':
        await pause(step.milliseconds);
        break;
    }
    this.look();
  }

  /** Lets everything go and collects what is left. */
  async finish(): Promise<void> {
    const { room } = this;
    for (const name of barrierNames) {
      room.barriers[name].release();
    }
    room.signals.release();
    const deadline = performance.now() + PATIENCE;
    while ((await room.countWaiting()) > 0 || this.inFlight.length > 0) {
      assert.ok(performance.now() < deadline, `${await room.countWaiting()} parcels were never delivered`);
      this.look();
      this.acknowledge(0);
      await pause(1);
    }
    this.collection.close();
  }

  /** The newest parcel of each message id, unless it was acknowledged. */
  owed(): number {
    return [...this.put.values()].filter((parcels) => !this.acknowledged.has(parcels.at(-1) ?? '')).length;
  }

  private look(): void {
    assert.equal(this.outlet.failure, undefined);
    for (const delivery of this.outlet.delivered.splice(0)) {
      this.inFlight.push(delivery);
      this.delivered.push(String(delivery.parcel));
    }
  }

  private acknowledge(place: number): void {
    const [delivery] = this.inFlight.splice(place % Math.max(1, this.inFlight.length), 1);
    if (delivery) {
      this.acknowledged.add(String(delivery.parcel));
      assert.ok(this.collection.acknowledge(delivery.deliveryId));
    }
  }
}

describe('A collection, whatever crosses', { timeout: 120_000 }, () => {
  let room: CollectionRoom;

  before(async () => {
    room = await openCollectionRoom();
  });

  after(() => room[Symbol.asyncDispose]());

  it('delivers each version at most once, the newest of each parcel surely, and deletes only what was acknowledged', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.constantFrom(1, 5), async (steps, window) => {
        const run = new Run(room, window);
        for (const next of steps) {
          await run.take(next);
          assert.ok((await room.countWaiting()) >= run.owed(), 'A parcel was deleted that nobody acknowledged');
        }
        await run.finish();

        assert.equal(new Set(run.delivered).size, run.delivered.length, 'A version was delivered twice');
        for (const parcels of run.put.values()) {
          assert.ok(run.acknowledged.has(parcels.at(-1) ?? ''), 'The newest version was not delivered');
        }
        for (const parcel of run.delivered) {
          assert.ok([...run.put.values()].flat().includes(parcel), 'Something else was delivered');
        }
      }),
      { numRuns: 60 },
    );
  });
});
