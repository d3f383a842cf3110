/** DeliverCargo by a raw HTTP/2 client: acknowledgements, refusals, and what couriers may take. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { type ObjectStore, StoreError } from '../../../src/gateway/ports.ts';
import { CargoSender } from '../../support/cargo-room.ts';
import { openCourierDoor } from '../../support/courier-door.ts';
import { frame, RawCourier } from '../../support/raw-courier.ts';

const MIB = 1024 ** 2;

/** How often a test looks whether something has happened, in milliseconds. */
const PAUSE = 10;

/** More than a message and the acknowledgements of its predecessors may take. */
const LARGEST_MESSAGE = 9_437_184;

/** Fails to put what `fails` says, by the number of the put, from 1. */
function failingPuts(fails: (number: number) => boolean, code: StoreError['code'] = 'STORE_AWAY') {
  let number = 0;
  return (objects: ObjectStore): ObjectStore => ({
    put: (...parameters) =>
      fails(++number) ? Promise.reject(new StoreError(code, 'No store today')) : objects.put(...parameters),
    putUnless: (...parameters) => objects.putUnless(...parameters),
    get: (key) => objects.get(key),
    find: (key) => objects.find(key),
    list: (prefix) => objects.list(prefix),
    delete: (...parameters) => objects.delete(...parameters),
  });
}

describe('Acknowledgements of cargo', () => {
  test('come at once but for the newest, which comes when the courier has nothing more', async (t) => {
    const { url, sender } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    for (const id of ['1', '2', '3']) {
      await call.send(id, await sender.cargo([]));
    }
    assert.deepEqual((await call.acknowledgements(2)).toSorted(), ['1', '2']);
    await call.send('4', await sender.cargo([]));
    assert.deepEqual((await call.acknowledgements(3)).toSorted(), ['1', '2', '3']);
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
    assert.deepEqual(call.acknowledged.toSorted(), ['1', '2', '3', '4']);
  });

  test('come for the newest, too, when nothing follows for a while', async (t) => {
    const { url, sender } = await openCourierDoor(t, { quiet: 50 });
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    await call.send('1', await sender.cargo([]));
    assert.deepEqual(await call.acknowledgements(1), ['1']);
    await call.send('2', await sender.cargo([]));
    assert.deepEqual(await call.acknowledgements(2), ['1', '2']);
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
  });

  test('come after the cargo is durable', async (t) => {
    const stored = new Set<string>();
    const { url, sender, room } = await openCourierDoor(t, {
      cargoObjects: (objects) => ({
        put: async (key, ...rest) => {
          const entry = await objects.put(key, ...rest);
          stored.add(key);
          return entry;
        },
        putUnless: (...parameters) => objects.putUnless(...parameters),
        get: (key) => objects.get(key),
        find: (key) => objects.find(key),
        list: (prefix) => objects.list(prefix),
        delete: (...parameters) => objects.delete(...parameters),
      }),
    });
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    await call.send('1', await sender.cargo([]));
    await call.send('2', await sender.cargo([]));
    await call.acknowledgements(1);
    assert.ok(stored.size >= 1);
    call.stream.end();
    await call.ended();
    assert.equal((await Array.fromAsync(room.backends.objects.list('cargo/'))).length, 2);
  });

  test('come for what is refused, which is dropped and told once', async (t) => {
    const { url, sender, room, lines } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    const misaddressed = await sender.cargo([], { fields: { recipient: { id: sender.id } } });
    await call.send('rubbish', Buffer.from('rubbish'));
    await call.send('empty', Buffer.alloc(0));
    await call.send('misaddressed', misaddressed);
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
    assert.deepEqual(call.acknowledged.toSorted(), ['empty', 'misaddressed', 'rubbish']);
    assert.deepEqual(await Array.fromAsync(room.backends.objects.list('cargo/')), []);
    const refused = lines.filter(({ msg }) => msg === 'Cargo refused').map(({ code }) => code);
    assert.deepEqual(refused.toSorted(), ['RAMF_FORMAT_UNKNOWN', 'RAMF_FORMAT_UNKNOWN', 'WRONG_GATEWAY']);
  });

  for (const code of ['STORE_AWAY', 'STORE_FULL'] as const) {
    test(`do not come for what cannot be stored (${code}), and do for the rest`, async (t) => {
      const { url, sender } = await openCourierDoor(t, { cargoObjects: failingPuts((number) => number === 2, code) });
      using courier = new RawCourier(url);
      const call = courier.deliverCargo();
      await call.send('1', await sender.cargo([]));
      await call.send('2', await sender.cargo([]));
      assert.equal(await call.ended(), status.UNAVAILABLE);
      assert.deepEqual(call.acknowledged, ['1']);

      const next = courier.deliverCargo();
      await next.send('2', await sender.cargo([]));
      next.stream.end();
      assert.equal(await next.ended(), status.OK);
    });
  }

  test('do not come for a private gateway that is over its quota', async (t) => {
    const { url, sender, room } = await openCourierDoor(t, { cargoQuota: { count: 1, octets: MIB } });
    const other = await CargoSender.register(room, { node: 'other-private-gateway' });
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    await call.send('1', await sender.cargo([]));
    await call.send('other', await other.cargo([]));
    await call.acknowledgements(1);
    await call.send('2', await sender.cargo([]));
    assert.equal(await call.ended(), status.UNAVAILABLE);
    assert.deepEqual(call.acknowledged.toSorted(), ['1', 'other']);
  });
});

describe('A call of a courier', () => {
  test('has five cargoes in hand at most', async (t) => {
    let inHand = 0;
    let most = 0;
    const gate = Promise.withResolvers<void>();
    const full = Promise.withResolvers<void>();
    const { url, sender } = await openCourierDoor(t, {
      cargoObjects: (objects) => ({
        put: async (...parameters) => {
          most = Math.max(most, ++inHand);
          if (inHand === 5) {
            full.resolve();
          }
          await gate.promise;
          const entry = await objects.put(...parameters);
          inHand--;
          return entry;
        },
        putUnless: (...parameters) => objects.putUnless(...parameters),
        get: (key) => objects.get(key),
        find: (key) => objects.find(key),
        list: (prefix) => objects.list(prefix),
        delete: (...parameters) => objects.delete(...parameters),
      }),
    });
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    for (let number = 0; number < 12; number++) {
      void call.send(String(number), await sender.cargo([]));
    }
    await full.promise;
    gate.resolve();
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
    assert.equal(call.acknowledged.length, 12);
    assert.equal(most, 5);
  });

  test('is not read any further while its courier takes no acknowledgement, and gives way in the end', async (t) => {
    const { url, lines } = await openCourierDoor(t, {
      server: { limits: { callIdleTimeout: 300, maxCalls: 1 } },
      quiet: 1,
    });
    using courier = new RawCourier(url, { initialWindowSize: 0 });
    const call = courier.deliverCargo();
    // No more at once than Node's client keeps in memory.
    for (let number = 0; number < 8; number++) {
      void call.send(String(number), Buffer.alloc(MIB));
    }
    const refused = () => lines.filter(({ msg }) => msg === 'Cargo refused').length;
    while (refused() < 5) {
      await delay(PAUSE);
    }
    using other = new RawCourier(url);
    let answer: number;
    do {
      await delay(PAUSE);
      const next = other.deliverCargo();
      next.stream.end();
      answer = await next.ended();
    } while (answer === status.UNAVAILABLE);
    assert.equal(answer, status.OK);
    assert.equal(refused(), 5);
  });

  test('ends when its courier stops in the middle of a message, and the connection goes on', async (t) => {
    const { url, sender } = await openCourierDoor(t, { server: { limits: { callIdleTimeout: 200 } } });
    using courier = new RawCourier(url);
    const stalled = courier.deliverCargo();
    await stalled.write(frame(Buffer.alloc(MIB)).subarray(0, 1000));
    assert.equal(await stalled.ended(), status.DEADLINE_EXCEEDED);
    const call = courier.deliverCargo();
    await call.send('1', await sender.cargo([]));
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
  });

  test('has to wait for another time when too many are open', async (t) => {
    const { url, sender } = await openCourierDoor(t, { server: { limits: { maxCalls: 1 } } });
    using courier = new RawCourier(url);
    const first = courier.deliverCargo();
    await first.send('1', await sender.cargo([]));
    await first.send('2', await sender.cargo([]));
    await first.acknowledgements(1);
    using other = new RawCourier(url);
    assert.equal(await other.deliverCargo().ended(), status.UNAVAILABLE);
    first.stream.end();
    assert.equal(await first.ended(), status.OK);
    const second = other.deliverCargo();
    second.stream.end();
    assert.equal(await second.ended(), status.OK);
  });

  test('leaves calls for the couriers of other networks', async (t) => {
    const { url } = await openCourierDoor(t, {
      server: { limits: { maxCalls: 4, maxCallsPerAddress: 2 }, trustedProxies: ['127.0.0.1'] },
    });
    using courier = new RawCourier(url);
    const from = (address: string) => courier.deliverCargo({ 'x-forwarded-for': address });
    const [first, second] = [from('192.0.2.1'), from('192.0.2.2')];
    assert.equal(await from('192.0.2.3').ended(), status.UNAVAILABLE);
    const other = from('198.51.100.1');
    for (const call of [first, second, other]) {
      call.stream.end();
      assert.equal(await call.ended(), status.OK);
    }
    const next = from('192.0.2.3');
    next.stream.end();
    assert.equal(await next.ended(), status.OK);
  });

  test('is counted by the address of its connection, whatever a courier forwards', async (t) => {
    const { url } = await openCourierDoor(t, { server: { limits: { maxCallsPerAddress: 1 } } });
    using courier = new RawCourier(url);
    const first = courier.deliverCargo({ 'x-forwarded-for': '192.0.2.1' });
    assert.equal(await courier.deliverCargo({ 'x-forwarded-for': '198.51.100.1' }).ended(), status.UNAVAILABLE);
    first.stream.end();
    assert.equal(await first.ended(), status.OK);
  });

  test('ends when a message is too large or none', async (t) => {
    const { url } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const large = courier.deliverCargo();
    void large.write(frame(Buffer.alloc(LARGEST_MESSAGE + MIB)).subarray(0, 1000));
    assert.equal(await large.ended(), status.RESOURCE_EXHAUSTED);
    const broken = courier.deliverCargo();
    void broken.write(frame(Buffer.from([0x0a, 0x7f])));
    assert.equal(await broken.ended(), status.INTERNAL);
  });

  test("ends at the courier's deadline; what was stored stays", async (t) => {
    const { url, sender, room } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const cargo = await sender.cargo([]);
    const call = courier.deliverCargo({ 'grpc-timeout': '500m' });
    await call.send('1', cargo);
    assert.equal(await call.ended(), status.DEADLINE_EXCEEDED);
    // It came at once, and may have been on its way to the disk when the deadline was over.
    while ((await Array.fromAsync(room.backends.objects.list('cargo/'))).length === 0) {
      await delay(PAUSE);
    }
  });

  test('may end without any cargo', async (t) => {
    const { url } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
  });
});
