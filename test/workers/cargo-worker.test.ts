import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type ObjectStore, StoreError } from '../../src/gateway/ports.ts';
import { CargoWorker } from '../../src/workers/cargo-worker.ts';
import { type CargoRoom, CargoSender, openCargoRoom } from '../support/cargo-room.ts';
import { Barrier } from '../support/held-stores.ts';
import { logLines } from '../support/log-lines.ts';
import { newSessionKey } from '../support/pki.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const PAUSE = 5;

const NOW = AbortSignal.abort();

function newWorker({ room, processing }: CargoRoom, t: TestContext) {
  const { log, lines } = logLines('debug');
  const worker = new CargoWorker({ queue: room.backends.work, processing, log, clock: room.clock, chance: () => 0 });
  t.after(() => worker.stop(NOW));
  const logged = async (message: string, count = 1) => {
    while (lines.filter(({ msg }) => msg === message).length < count) {
      await delay(PAUSE);
    }
  };
  return { worker, lines, logged };
}

async function items({ room }: CargoRoom) {
  return Array.fromAsync(room.backends.work.list('cargo'));
}

async function openRoom(t: TestContext): Promise<CargoRoom> {
  const cargo = await openCargoRoom();
  t.after(() => cargo[Symbol.asyncDispose]());
  return cargo;
}

describe('The cargo worker', () => {
  test('opens what is queued, also what comes while it works', async (t) => {
    const cargo = await openRoom(t);
    const sender = await CargoSender.register(cargo.room);
    const other = await CargoSender.register(cargo.room, { node: 'other-private-gateway' });
    await cargo.delivery.deliver(await sender.cargo([await sender.parcel()]), { trace: 'a' });
    const { worker, logged } = newWorker(cargo, t);
    await assert.rejects(worker.check());
    worker.start();
    await logged('Cargo opened');
    await worker.check();
    for (const from of [sender, other, sender]) {
      await cargo.delivery.deliver(await from.cargo([await sender.parcel()]), { trace: 'b' });
    }
    await logged('Cargo opened', 4);
    await worker.stop(AbortSignal.timeout(10 * SECOND));
    assert.deepEqual(await items(cargo), []);
    assert.equal((await Array.fromAsync(cargo.room.mailboxes.list(sender.id))).length, 4);
    await assert.rejects(worker.check());
  });

  test('drops what cannot be decrypted, and says so', async (t) => {
    const cargo = await openRoom(t);
    const sender = await CargoSender.register(cargo.room);
    await cargo.delivery.deliver(await sender.cargo([], { sessionKey: newSessionKey() }), { trace: 'a' });
    const { worker, lines, logged } = newWorker(cargo, t);
    worker.start();
    await logged('Cargo dropped: it cannot be opened');
    assert.partialDeepStrictEqual(
      lines.find(({ msg }) => msg === 'Cargo dropped: it cannot be opened'),
      { code: 'SESSION_KEY_UNKNOWN', peer: sender.id, trace: 'a' },
    );
    while ((await items(cargo)).length > 0) {
      await delay(PAUSE);
    }
  });

  test('tries again later, and ever later, what a store is away for', async (t) => {
    const cargo = await openRoom(t);
    const { objects } = cargo.room.backends;
    const sender = await CargoSender.register(cargo.room);
    await cargo.delivery.deliver(await sender.cargo([await sender.parcel()]), { trace: 'a' });
    let isAway = true;
    const put = objects.putUnless.bind(objects);
    objects.putUnless = (...parameters: Parameters<ObjectStore['putUnless']>) =>
      isAway ? Promise.reject(new StoreError('STORE_AWAY', 'away')) : put(...parameters);
    const { worker, logged } = newWorker(cargo, t);
    worker.start();
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 3; attempt++) {
      await logged('Cargo cannot be opened now', attempt);
      let item = (await items(cargo))[0];
      while (item?.attempts !== attempt) {
        await delay(PAUSE);
        item = (await items(cargo))[0];
      }
      waits.push(item.due - cargo.room.clock.now());
      isAway = attempt < 3;
      cargo.room.clock.advance(item.due - cargo.room.clock.now());
    }
    assert.deepEqual(waits, [5 * SECOND, 10 * SECOND, 20 * SECOND]);
    await logged('Cargo opened');
    assert.equal((await Array.fromAsync(cargo.room.mailboxes.list(sender.id))).length, 1);
  });

  test('gives back what it has in hand when its time is over, for another to open whole', async (t) => {
    const cargo = await openRoom(t);
    const { objects } = cargo.room.backends;
    const sender = await CargoSender.register(cargo.room);
    const parcels = await Promise.all(Array.from({ length: 300 }, () => sender.parcel()));
    await cargo.delivery.deliver(await sender.cargo(parcels), { trace: 'a' });
    const barrier = new Barrier();
    barrier.hold();
    const put = objects.putUnless.bind(objects);
    objects.putUnless = async (...parameters: Parameters<ObjectStore['putUnless']>) => {
      await barrier.pass();
      return put(...parameters);
    };
    const { worker } = newWorker(cargo, t);
    worker.start();
    await barrier.reached;
    const stopped = worker.stop(NOW);
    barrier.release();
    await stopped;
    assert.ok((await Array.fromAsync(cargo.room.mailboxes.list(sender.id))).length < 300);
    assert.partialDeepStrictEqual(await items(cargo), [{ attempts: 0 }]);

    const { worker: next, logged } = newWorker(cargo, t);
    next.start();
    await logged('Cargo opened');
    assert.equal((await Array.fromAsync(cargo.room.mailboxes.list(sender.id))).length, 300);
  });

  test('leaves a cargo that another opened meanwhile', async (t) => {
    const cargo = await openRoom(t);
    const sender = await CargoSender.register(cargo.room);
    await cargo.delivery.deliver(await sender.cargo([]), { trace: 'a' });
    const [item] = await items(cargo);
    await cargo.processing.open(item?.key ?? '', async () => undefined);
    const { worker, logged } = newWorker(cargo, t);
    worker.start();
    await logged('Cargo was opened before, or has expired');
  });

  test('does not open cargo that has expired', async (t) => {
    const cargo = await openRoom(t);
    const sender = await CargoSender.register(cargo.room);
    await cargo.delivery.deliver(await sender.cargo([await sender.parcel()]), { trace: 'a' });
    cargo.room.clock.advance(15 * 24 * HOUR);
    const { worker, lines } = newWorker(cargo, t);
    worker.start();
    await cargo.delivery.deliver(await sender.cargo([], { fields: {} }), { trace: 'b' });
    while (!lines.some(({ msg, trace }) => msg === 'Cargo opened' && trace === 'b')) {
      await delay(PAUSE);
    }
    assert.deepEqual(await Array.fromAsync(cargo.room.mailboxes.list(sender.id)), []);
  });
});
