/** Couriers who take all that there is, and what is left for the others. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { openCourierDoor } from '../../support/courier-door.ts';
import { frame, RawCourier } from '../../support/raw-courier.ts';

const MIB = 1024 * 1024;
const PAUSE = 10;

/** Two networks that take all, and one that comes late. */
const GREEDY = ['127.1.1.1', '127.1.2.1'] as const;
const LATE = '127.1.3.1';

function courierFrom(t: TestContext, url: string, address: string): RawCourier {
  const courier = new RawCourier(url, {}, address);
  t.after(() => courier[Symbol.dispose]());
  return courier;
}

/** A call of the health service. */
function ask({ session }: RawCourier, method: 'Check' | 'Watch') {
  const stream = session.request({
    ':method': 'POST',
    ':path': `/grpc.health.v1.Health/${method}`,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => undefined);
  stream.end(frame(Buffer.alloc(0)));
  return { stream, answered: once(stream, 'data') as Promise<[Buffer]>, ended: statusOf(stream) };
}

/** The status of a call, when it came. */
function statusOf(stream: ClientHttp2Stream): Promise<number> {
  return new Promise((resolve) => {
    const take = (headers: IncomingHttpHeaders) => {
      if (headers['grpc-status'] !== undefined) {
        resolve(Number(headers['grpc-status']));
      }
    };
    stream.on('response', take).on('trailers', take);
  });
}

const SERVING = Buffer.from([8, 1]);

describe('Whoever asks how the CogRPC server is', { timeout: 60_000 }, () => {
  test('is answered, however many watch; a network has so many watches and no more', async (t) => {
    const limits = { maxHealthCalls: 4, maxHealthCallsPerAddress: 2 };
    const { url } = await openCourierDoor(t, { server: { limits } });
    const watches: ReturnType<typeof ask>[] = [];
    for (const address of GREEDY) {
      const courier = courierFrom(t, url, address);
      for (let number = 0; number < 2; number++) {
        const watch = ask(courier, 'Watch');
        await watch.answered;
        watches.push(watch);
      }
      assert.equal(await ask(courier, 'Watch').ended, status.UNAVAILABLE);
    }
    const late = courierFrom(t, url, LATE);
    for (let number = 0; number < 10; number++) {
      const check = ask(late, 'Check');
      assert.ok((await check.answered)[0].subarray(-2).equals(SERVING));
      assert.equal(await check.ended, status.OK);
    }
    // One had to go, the quietest of all, and its stream with it.
    const gone = await Promise.race(watches.map(async ({ ended }, number) => ({ number, answer: await ended })));
    assert.deepEqual(gone, { number: 0, answer: status.UNAVAILABLE });
    if (!watches[0]?.stream.destroyed) {
      await once(watches[0]?.stream as ClientHttp2Stream, 'close');
    }
    for (const { stream } of watches.slice(1)) {
      assert.ok(!stream.destroyed);
    }
  });

  test('is answered where watches of many networks have all places', async (t) => {
    const { url } = await openCourierDoor(t, { server: { limits: { maxHealthCalls: 2 } } });
    for (const address of GREEDY) {
      await ask(courierFrom(t, url, address), 'Watch').answered;
    }
    assert.equal(await ask(courierFrom(t, url, LATE), 'Check').ended, status.OK);
  });
});

describe('A courier who comes late', { timeout: 60_000 }, () => {
  test('has the place of one who has brought nothing, of a network with most calls', async (t) => {
    const { url, sender } = await openCourierDoor(t, { server: { limits: { maxCalls: 4, maxCallsPerAddress: 2 } } });
    const [first, second] = GREEDY.map((address) => courierFrom(t, url, address));
    const bringing = first?.deliverCargo();
    await bringing?.send('1', await sender.cargo([]));
    await bringing?.send('2', await sender.cargo([]));
    await bringing?.acknowledgements(1);
    const silent = [first?.deliverCargo(), second?.deliverCargo(), second?.deliverCargo()];
    // Nobody of a network that has as many gets their place; and these calls have begun.
    for (const courier of [first, second]) {
      assert.equal(await courier?.deliverCargo().ended(), status.UNAVAILABLE);
    }
    const late = courierFrom(t, url, LATE).deliverCargo();
    await late.send('3', await sender.cargo([]));
    late.stream.end();
    assert.equal(await late.ended(), status.OK);
    const ends = silent.map((call) => call?.ended());
    assert.equal(await Promise.race(ends), status.UNAVAILABLE);
    bringing?.stream.end();
    assert.equal(await bringing?.ended(), status.OK);
    assert.equal(bringing?.acknowledged.length, 2);
  });

  test('waits where as many networks have one call each as there are calls, until one of them is quiet', async (t) => {
    const limits = { maxCalls: 2, maxCallsPerAddress: 1, maxQuiet: 500 };
    const { url } = await openCourierDoor(t, { server: { limits } });
    const began = performance.now();
    const couriers = GREEDY.map((address) => courierFrom(t, url, address));
    const quiet = couriers.map((courier) => courier.deliverCargo());
    for (const courier of couriers) {
      assert.equal(await courier.deliverCargo().ended(), status.UNAVAILABLE);
    }
    const late = courierFrom(t, url, LATE);
    let answer: number;
    do {
      await delay(PAUSE);
      const call = late.deliverCargo();
      call.stream.end();
      answer = await call.ended();
    } while (answer === status.UNAVAILABLE);
    assert.equal(answer, status.OK);
    const waited = performance.now() - began;
    assert.ok(waited >= limits.maxQuiet, `${waited} ms`);
    assert.equal(await Promise.race(quiet.map((call) => call.ended())), status.UNAVAILABLE);
  });
});

describe('Cargo that is not complete', { timeout: 60_000 }, () => {
  test('takes so much memory and no more: the largest goes, also where its courier would keep the call', async (t) => {
    const { url, sender } = await openCourierDoor(t, { server: { limits: { maxOctets: 3 * MIB } } });
    const stall = async (address: string, octets: number) => {
      const { session } = courierFrom(t, url, address);
      const stream = session.request({
        ':method': 'POST',
        ':path': '/awala.cogrpc.CargoRelay/DeliverCargo',
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      stream.on('error', () => undefined);
      stream.resume();
      stream.write(frame(Buffer.alloc(4 * MIB)).subarray(0, octets));
      return { stream, ended: statusOf(stream), closed: once(stream, 'close') };
    };
    const smaller = await stall(GREEDY[0], MIB);
    const larger = await stall(GREEDY[1], 2.5 * MIB);
    assert.equal(await larger.ended, status.UNAVAILABLE);
    await larger.closed;
    assert.equal(larger.stream.rstCode, 0);
    const call = courierFrom(t, url, LATE).deliverCargo();
    await call.send('1', await sender.cargo([]));
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
    assert.ok(!smaller.stream.destroyed);
  });
});
