/** What a worker has in hand stays its own while it lives, and is others' soon after its death. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { DeliveryFault } from '../../src/gateway/delivery-fault.ts';
import type { InternetQueue } from '../../src/gateway/internet-queue.ts';
import { type ObjectStore, StoreError } from '../../src/gateway/ports.ts';
import { SECOND } from '../../src/gateway/time.ts';
import { CargoWorker } from '../../src/workers/cargo-worker.ts';
import { LEASE } from '../../src/workers/held-items.ts';
import { CargoSender, openCargoRoom } from '../support/cargo-room.ts';
import { type DeliveryRoom, openDeliveryRoom, PEER } from '../support/delivery-room.ts';
import { Barrier } from '../support/held-stores.ts';
import { logLines } from '../support/log-lines.ts';

const PERIOD = LEASE / 3;
const QUEUE = 'internet-delivery';
const DESTINATION = 'good.example';
const PAUSE = 5;

/** Deliveries that hang until the test ends them. */
class Deliveries {
  readonly parcels: string[] = [];
  private readonly hanging: PromiseWithResolvers<void>[] = [];

  readonly deliver = async (_destination: string, parcel: Buffer): Promise<void> => {
    const hanging = Promise.withResolvers<void>();
    this.hanging.push(hanging);
    this.parcels.push(parcel.toString());
    await hanging.promise;
  };

  /** Resolves when so many have begun, in all. */
  async begun(count: number): Promise<void> {
    while (this.parcels.length < count) {
      await pause(PAUSE);
    }
  }

  /** Ends all that hang. */
  end(fault?: Error): void {
    for (const { resolve, reject } of this.hanging.splice(0)) {
      if (fault) {
        reject(fault);
      } else {
        resolve();
      }
    }
  }
}

/** A queue as a process has it that can be killed: from then on it asks for nothing, and is given nothing. */
class MortalQueue {
  private readonly death = new AbortController();
  private readonly never = Promise.withResolvers<never>();

  readonly wrap = (queue: InternetQueue): InternetQueue =>
    new Proxy(queue, {
      get: (target, name) => {
        const method = Reflect.get(target, name, target) as (...parameters: unknown[]) => unknown;
        return async (...parameters: unknown[]) => {
          if (this.death.signal.aborted) {
            return this.never.promise;
          }
          const signals = parameters.filter((parameter) => parameter instanceof AbortSignal);
          const signal = AbortSignal.any([this.death.signal, ...signals]);
          const answer = await method.apply(
            target,
            signals.length > 0 ? [...parameters.slice(0, -1), signal] : parameters,
          );
          return this.death.signal.aborted ? this.never.promise : answer;
        };
      },
    });

  kill(): void {
    this.death.abort();
  }

  /** Lets those go that wait for a dead process. */
  bury(): void {
    this.never.reject(new Error('Killed'));
    this.never.promise.catch(() => undefined);
  }
}

/** Calls of `renew`, which fail while they are to. */
class WatchedQueue {
  renewals = 0;
  fails = false;

  readonly wrap = (queue: InternetQueue): InternetQueue => {
    const renew = queue.renew.bind(queue);
    return Object.assign(Object.create(queue) as InternetQueue, {
      renew: async (...parameters: Parameters<InternetQueue['renew']>) => {
        this.renewals++;
        if (this.fails) {
          throw new StoreError('STORE_AWAY', 'away');
        }
        return renew(...parameters);
      },
    });
  };
}

const oldestDue = ({ room }: DeliveryRoom) => room.backends.work.oldestDue(QUEUE);

/** Time goes by: timers run, and the queue's clock goes on. */
async function live(t: TestContext, room: DeliveryRoom, periods: number): Promise<void> {
  for (let period = 0; period < periods; period++) {
    await room.advance(PERIOD);
    t.mock.timers.tick(PERIOD);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

suite('What a worker has in hand', () => {
  test('is one delivery, however long that hangs', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const deliveries = new Deliveries();
    await using room = await openDeliveryRoom(deliveries.deliver);
    await room.put(DESTINATION);
    await deliveries.begun(1);
    const other = new Deliveries();
    room.join(other.deliver);
    for (let period = 0; period < 9; period++) {
      await live(t, room, 1);
      assert.equal(await oldestDue(room), undefined);
    }
    deliveries.end();
    await room.worker.settled();
    assert.deepEqual([deliveries.parcels.length, other.parcels.length], [1, 0]);
    assert.deepEqual(await Array.fromAsync(room.room.backends.work.list(QUEUE)), []);
    assert.deepEqual(await room.waiting(), []);
  });

  test('goes to another within a lease after its death', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const deliveries = new Deliveries();
    const process = new MortalQueue();
    await using room = await openDeliveryRoom(deliveries.deliver, process.wrap);
    await room.put(DESTINATION);
    await deliveries.begun(1);
    await live(t, room, 4);
    process.kill();
    const heir = new Deliveries();
    room.join(heir.deliver);
    await live(t, room, 2);
    await room.advance(PERIOD - 1);
    assert.equal(await oldestDue(room), undefined);
    assert.equal(heir.parcels.length, 0);
    await room.advance(2);
    await heir.begun(1);
    heir.end();
    await room.logged('Parcel sent');
    process.bury();
    while ((await room.waiting()).length > 0) {
      await pause(PAUSE);
    }
  });

  test('is lost where the worker stood still for too long, which then tells nothing of it', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const deliveries = new Deliveries();
    await using room = await openDeliveryRoom(deliveries.deliver);
    await room.put(DESTINATION);
    await deliveries.begun(1);
    const heir = new Deliveries();
    room.join(heir.deliver);
    await room.advance(LEASE + 1);
    await heir.begun(1);
    t.mock.timers.tick(PERIOD);
    const [line] = await room.logged('Work in hand was lost: taken by others, or removed');
    assert.partialDeepStrictEqual(line, { worker: 'internet-delivery', lost: 1 });
    deliveries.end(new DeliveryFault('NOT_NOW', 'Status 503'));
    await room.worker.settled();
    assert.ok(!room.lines.some(({ msg }) => msg === 'Parcel not sent yet'));
    assert.partialDeepStrictEqual(await Array.fromAsync(room.room.backends.work.list(QUEUE)), [{ attempts: 0 }]);
    assert.equal(await oldestDue(room), undefined);
    heir.end();
    await room.logged('Parcel sent');
  });

  test('is not delivered any more when it was lost before its turn', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const deliveries = new Deliveries();
    await using room = await openDeliveryRoom(deliveries.deliver);
    await room.put(DESTINATION);
    await deliveries.begun(1);
    deliveries.end();
    await room.worker.settled();
    // The destination may have two at once by now, and more in hand.
    const digests = new Map<string, string>();
    for (const body of ['1', '2', '3', '4']) {
      digests.set(body, await room.put(DESTINATION, { body }));
    }
    await deliveries.begun(3);
    while ((await oldestDue(room)) !== undefined) {
      await pause(PAUSE);
    }
    const waiting = [...digests.keys()].filter((body) => !deliveries.parcels.includes(body));
    assert.equal(waiting.length, 2);
    const [gone, kept] = waiting as [string, string];
    await room.storage.internetQueue.remove(`outbox/${PEER}/${digests.get(gone)}`);
    t.mock.timers.tick(PERIOD);
    await room.logged('Work in hand was lost: taken by others, or removed');
    deliveries.end();
    await deliveries.begun(4);
    deliveries.end();
    await room.worker.settled();
    assert.deepEqual(deliveries.parcels.slice(3), [kept]);
    assert.deepEqual(await room.waiting(), [digests.get(gone)]);
  });

  test('is renewed again after renewals that failed, and nothing is when nothing is in hand', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const deliveries = new Deliveries();
    const watched = new WatchedQueue();
    await using room = await openDeliveryRoom(deliveries.deliver, watched.wrap);
    await live(t, room, 4);
    assert.equal(watched.renewals, 0);
    await room.put(DESTINATION);
    await deliveries.begun(1);
    watched.fails = true;
    for (const failures of [1, 2]) {
      await live(t, room, 1);
      await room.logged('Work in hand was not renewed', failures);
    }
    watched.fails = false;
    await live(t, room, 3);
    assert.equal(await oldestDue(room), undefined);
    assert.equal(watched.renewals, 5);
    deliveries.end();
    await room.worker.settled();
    await live(t, room, 4);
    assert.equal(watched.renewals, 5);
    assert.equal(deliveries.parcels.length, 1);
  });

  test('is cargo, too, however long it takes to be opened', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const { room, delivery, processing, ...more } = await openCargoRoom();
    t.after(() => more[Symbol.asyncDispose]());
    const { objects, work } = room.backends;
    const sender = await CargoSender.register(room);
    await delivery.deliver(await sender.cargo([await sender.parcel()]), { trace: 'a' });
    const barrier = new Barrier();
    barrier.hold();
    const putUnless = objects.putUnless.bind(objects);
    objects.putUnless = async (...parameters: Parameters<ObjectStore['putUnless']>) => {
      await barrier.pass();
      return putUnless(...parameters);
    };
    const { log, lines } = logLines('debug');
    const worker = new CargoWorker({ queue: work, processing, log, clock: room.clock, chance: () => 0 });
    t.after(() => worker.stop(AbortSignal.abort()));
    worker.start();
    await barrier.reached;
    for (let period = 0; period < 9; period++) {
      room.clock.advance(PERIOD);
      t.mock.timers.tick(PERIOD);
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(await work.oldestDue('cargo'), undefined);
    }
    barrier.release();
    await worker.stop(AbortSignal.timeout(10 * SECOND));
    assert.equal(lines.filter(({ msg }) => msg === 'Cargo opened').length, 1);
    assert.deepEqual(await Array.fromAsync(work.list('cargo')), []);
  });
});
