import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeliveryFault } from '../../src/gateway/delivery-fault.ts';
import { fingerprintOf } from '../../src/gateway/sent-memory.ts';
import { DAY, HOUR, MINUTE, SECOND } from '../../src/gateway/time.ts';
import { openDeliveryRoom, PEER } from '../support/delivery-room.ts';

const GOOD = 'good.example';
const BAD = 'bad.example';

/** Deliveries that wait at a gate, by their destination. */
class Gates {
  private readonly waiting = new Map<string, PromiseWithResolvers<void>[]>();
  private readonly arrivals: (() => void)[] = [];

  async enter(destination: string): Promise<void> {
    const gate = Promise.withResolvers<void>();
    this.waiting.set(destination, [...(this.waiting.get(destination) ?? []), gate]);
    for (const arrival of this.arrivals.splice(0)) {
      arrival();
    }
    await gate.promise;
  }

  /** Resolves when so many wait. */
  async count(destination: string, count: number): Promise<void> {
    while ((this.waiting.get(destination)?.length ?? 0) < count) {
      await new Promise<void>((resolve) => this.arrivals.push(resolve));
    }
  }

  now(destination: string): number {
    return this.waiting.get(destination)?.length ?? 0;
  }

  /** Lets the first go, with a fault where there is one. */
  release(destination: string, fault?: Error): void {
    const gate = this.waiting.get(destination)?.shift();
    assert.ok(gate, 'nobody waits');
    if (fault) {
      gate.reject(fault);
    } else {
      gate.resolve();
    }
  }
}

const notNow = () => new DeliveryFault('NOT_NOW', 'Status 503');

test('A parcel that was sent is remembered, deleted and taken from the queue', async () => {
  const sent: [string, string][] = [];
  await using room = await openDeliveryRoom(async (destination, parcel) => {
    sent.push([destination, parcel.toString()]);
  });
  const digest = await room.put(GOOD, { body: 'octets' });
  const [line] = await room.logged('Parcel sent');
  await room.worker.settled();
  assert.deepEqual(sent, [[GOOD, 'octets']]);
  assert.deepEqual(await room.waiting(), []);
  assert.deepEqual(await Array.fromAsync(room.room.backends.work.list('internet-delivery')), []);
  assert.equal(await room.storage.sent.includes(digest, fingerprintOf(Buffer.from('octets'))), true);
  const { trace, parcel, sender, recipient, peer, destination } = line ?? {};
  assert.deepEqual(
    { trace, parcel, sender, recipient, peer, destination },
    { trace: 'test', parcel: digest, sender: '0bb', recipient: '0cc', peer: PEER, destination: GOOD },
  );
  const [hop] = await room.room.backends.journal.find(digest);
  assert.equal(hop?.event, 'sent-on');
});

test('A parcel that was refused for good is deleted, and the reason told', async () => {
  await using room = await openDeliveryRoom(async () => {
    throw new DeliveryFault('REFUSED', 'Status 403');
  });
  const digest = await room.put(BAD);
  const [line] = await room.logged('Parcel refused for good');
  await room.worker.settled();
  assert.deepEqual([line?.['code'], line?.['reason'], line?.['parcel']], ['REFUSED', 'Status 403', digest]);
  assert.deepEqual(await room.waiting(), []);
  assert.equal(await room.storage.sent.includes(digest, fingerprintOf(Buffer.from('parcel'))), false);
  assert.equal((await room.room.backends.journal.find(digest))[0]?.event, 'given-up');
});

test('Retries come ever later, never more than an hour apart, until the parcel expires', async () => {
  const times: number[] = [];
  await using room = await openDeliveryRoom(async () => {
    times.push(room.room.clock.now());
    throw notNow();
  });
  const start = room.room.clock.now();
  const lifetime = 8 * HOUR;
  await room.put(BAD, { lifetime });
  for (let attempts = 1; ; attempts++) {
    const line = (await room.logged('Parcel not sent yet', attempts)).at(-1);
    await room.worker.settled();
    assert.equal(line?.['attempts'], attempts);
    const next = Date.parse(`${line?.['next']}`);
    if (next > start + lifetime) {
      break;
    }
    // A moment earlier nothing happens.
    await room.advance(next - room.room.clock.now() - 1);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(times.length, attempts);
    await room.advance(1);
  }
  const waits = times.slice(1).map((time, index) => time - (times[index] as number));
  assert.deepEqual(waits.slice(0, 4), [30 * SECOND, MINUTE, 2 * MINUTE, 4 * MINUTE]);
  assert.equal(waits.at(-1), HOUR);
  assert.equal(times.length, 14);
  await room.advance(2 * HOUR);
  await room.room.backends.housekeeping();
  assert.deepEqual(await room.waiting(), []);
  assert.deepEqual(await Array.fromAsync(room.room.backends.work.list('internet-delivery')), []);
});

test('While a destination rests, nothing goes there, others flow, and all goes as soon as it is well again', async () => {
  let isDown = true;
  const tries: string[] = [];
  await using room = await openDeliveryRoom(async (destination) => {
    tries.push(destination);
    if (destination === BAD && isDown) {
      throw notNow();
    }
  });
  for (let number = 0; number < 5; number++) {
    await room.put(BAD);
  }
  await room.logged('Parcel not sent yet');
  await room.worker.settled();
  for (let number = 0; number < 5; number++) {
    await room.put(GOOD);
  }
  await room.logged('Parcel sent', 5);
  assert.deepEqual(tries, [BAD, ...Array(5).fill(GOOD)]);

  isDown = false;
  await room.advance(30 * SECOND);
  await room.logged('Parcel sent', 10);
  await room.worker.settled();
  assert.deepEqual(await room.waiting(), []);
});

test('A resolver that is away for long does not make destinations rest for long', async () => {
  await using room = await openDeliveryRoom(async () => {
    throw new DeliveryFault('RESOLVER_AWAY', 'connect ECONNREFUSED');
  });
  await room.put(GOOD);
  const waits: number[] = [];
  for (let attempts = 1; attempts <= 6; attempts++) {
    const line = (await room.logged('Parcel not sent yet', attempts)).at(-1);
    await room.worker.settled();
    const wait = Date.parse(`${line?.['next']}`) - room.room.clock.now();
    waits.push(wait);
    await room.advance(wait);
  }
  assert.deepEqual(waits, [30 * SECOND, MINUTE, ...Array(4).fill(2 * MINUTE)]);
});

test('Of many parcels for a destination that is down, each rest lets one try', async () => {
  const tries: number[] = [];
  await using room = await openDeliveryRoom(async () => {
    tries.push(room.room.clock.now());
    throw notNow();
  });
  for (let number = 0; number < 50; number++) {
    await room.put(BAD);
  }
  for (let rests = 1; rests <= 4; rests++) {
    const line = (await room.logged('Parcel not sent yet', rests)).at(-1);
    await room.worker.settled();
    await room.advance(Date.parse(`${line?.['next']}`) - room.room.clock.now());
  }
  await room.logged('Parcel not sent yet', 5);
  await room.worker.settled();
  assert.equal(tries.length, 5);
});

test('A destination that breaks with parcels in hand gets none of them any more', async () => {
  const gates = new Gates();
  await using room = await openDeliveryRoom((destination) => gates.enter(destination));
  for (let number = 0; number < 100; number++) {
    await room.put(BAD);
  }
  for (const underWay of [1, 2, 4]) {
    await gates.count(BAD, underWay);
    for (let number = 0; number < underWay; number++) {
      gates.release(BAD);
    }
  }
  await gates.count(BAD, 8);
  await room.advance(1);
  for (let number = 0; number < 8; number++) {
    gates.release(BAD, notNow());
  }
  await room.logged('Parcel not sent yet', 8);
  await room.worker.settled();
  assert.equal(gates.now(BAD), 0);
  const items = await Array.fromAsync(room.room.backends.work.list('internet-delivery'));
  assert.deepEqual(items.filter(({ attempts }) => attempts > 0).length, 8);
  assert.equal(items.length, 93);
});

test('A destination that hangs has one delivery under way, others have theirs', async () => {
  const gates = new Gates();
  await using room = await openDeliveryRoom(async (destination) => {
    if (destination !== GOOD) {
      await gates.enter(destination);
    }
  });
  for (let number = 0; number < 20; number++) {
    await room.put(BAD);
  }
  await gates.count(BAD, 1);
  for (let number = 0; number < 50; number++) {
    await room.put(GOOD);
  }
  await room.logged('Parcel sent', 50);
  assert.equal(gates.now(BAD), 1);
  gates.release(BAD);
  // It is well: it may have two, and so on.
  await gates.count(BAD, 2);
  gates.release(BAD);
  await gates.count(BAD, 3);
  gates.release(BAD);
});

test('However many destinations hang, one that is well flows', async () => {
  const gates = new Gates();
  await using room = await openDeliveryRoom(async (destination) => {
    if (destination !== GOOD) {
      await gates.enter('hung');
    }
  });
  await room.put(GOOD);
  await room.logged('Parcel sent');
  for (let number = 0; number < 400; number++) {
    await room.put(`hangs-${number}.example`);
  }
  await gates.count('hung', 256);
  for (let number = 0; number < 20; number++) {
    await room.put(GOOD);
  }
  await room.logged('Parcel sent', 21);
  assert.equal(gates.now('hung'), 256);
});

test('A replacement that comes while the first goes out goes out too', async () => {
  const gates = new Gates();
  const sent: string[] = [];
  await using room = await openDeliveryRoom(async (destination, parcel) => {
    await gates.enter(destination);
    sent.push(parcel.toString());
  });
  const digest = await room.put(GOOD, { body: 'older' });
  await gates.count(GOOD, 1);
  await room.put(GOOD, { body: 'newer', digest });
  gates.release(GOOD);
  await gates.count(GOOD, 1);
  gates.release(GOOD);
  await room.logged('Parcel sent', 2);
  await room.worker.settled();
  assert.deepEqual(sent, ['older', 'newer']);
  assert.deepEqual(await room.waiting(), []);
  assert.equal(await room.storage.sent.includes(digest, fingerprintOf(Buffer.from('newer'))), true);
});

test('Of several versions each goes out once, whichever comes again', async () => {
  const sent: string[] = [];
  await using room = await openDeliveryRoom(async (_destination, parcel) => {
    sent.push(parcel.toString());
  });
  const digest = await room.put(GOOD, { body: 'older' });
  await room.logged('Parcel sent');
  await room.worker.settled();
  await room.put(GOOD, { body: 'newer', digest });
  await room.logged('Parcel sent', 2);
  await room.worker.settled();
  await room.put(GOOD, { body: 'older', digest });
  await room.logged('Parcel was sent before');
  await room.worker.settled();
  assert.deepEqual(sent, ['older', 'newer']);
  assert.deepEqual(await room.waiting(), []);
});

test('The same octets that come again while they go out go out once', async () => {
  const gates = new Gates();
  const sent: string[] = [];
  await using room = await openDeliveryRoom(async (destination, parcel) => {
    await gates.enter(destination);
    sent.push(parcel.toString());
  });
  const digest = await room.put(GOOD);
  await gates.count(GOOD, 1);
  await room.put(GOOD, { digest });
  gates.release(GOOD);
  await room.logged('Parcel was sent before');
  await room.worker.settled();
  assert.deepEqual(sent, ['parcel']);
  assert.deepEqual(await room.waiting(), []);
});

test('The same octets that come again long after they went out are dropped; others under the same ids go out', async () => {
  const sent: string[] = [];
  await using room = await openDeliveryRoom(async (_, parcel) => {
    sent.push(parcel.toString());
  });
  const digest = await room.put(GOOD, { lifetime: 30 * DAY });
  await room.logged('Parcel sent');
  await room.worker.settled();
  await room.advance(21 * DAY);
  await room.put(GOOD, { digest });
  await room.logged('Parcel was sent before');
  await room.put(GOOD, { digest, body: 'replacement' });
  await room.logged('Parcel sent', 2);
  await room.worker.settled();
  assert.deepEqual(sent, ['parcel', 'replacement']);
  assert.deepEqual(await room.waiting(), []);
});

test('What was sent before a crash, and not yet deleted, is not sent again', async () => {
  let sends = 0;
  await using room = await openDeliveryRoom(async () => {
    sends++;
  });
  await room.storage.sent.add('digest', fingerprintOf(Buffer.from('parcel')), room.room.clock.now() + HOUR);
  await room.put(GOOD, { digest: 'digest' });
  await room.logged('Parcel was sent before');
  await room.worker.settled();
  assert.equal(sends, 0);
  assert.deepEqual(await room.waiting(), []);
});

test('Work whose parcel is gone ends quietly', async () => {
  const gates = new Gates();
  await using room = await openDeliveryRoom((destination) => gates.enter(destination));
  await room.put(GOOD);
  await gates.count(GOOD, 1);
  const digest = await room.put(GOOD);
  await room.room.backends.objects.delete(`outbox/${PEER}/${digest}`);
  gates.release(GOOD);
  await room.logged('Parcel sent');
  while ((await Array.fromAsync(room.room.backends.work.list('internet-delivery'))).length > 0) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(gates.now(GOOD), 0);
});

test('Stopping takes nothing new and finishes what is in hand', async () => {
  const gates = new Gates();
  await using room = await openDeliveryRoom((destination) => gates.enter(destination));
  await room.put(GOOD);
  await gates.count(GOOD, 1);
  const stopped = room.worker.stop(new AbortController().signal);
  await room.put(BAD);
  gates.release(GOOD);
  await stopped;
  assert.equal(gates.now(BAD), 0);
  assert.equal((await room.waiting()).length, 1);
  assert.equal((await room.logged('Parcel sent')).length, 1);
});

test('What is cut at the deadline stays as it was', async () => {
  const gates = new Gates();
  await using room = await openDeliveryRoom((destination) => gates.enter(destination));
  await room.put(GOOD);
  await gates.count(GOOD, 1);
  await room.worker.stop(AbortSignal.abort());
  // The connections are cut.
  gates.release(GOOD, new DeliveryFault('CONNECTION_FAILED', 'cut'));
  await room.worker.settled();
  const [item] = await Array.fromAsync(room.room.backends.work.list('internet-delivery'));
  assert.deepEqual([item?.attempts, item?.due], [0, room.room.clock.now()]);
  assert.equal((await room.waiting()).length, 1);
});

test('A fault of our own leaves the parcel where it was, and is told', async () => {
  let isBroken = true;
  await using room = await openDeliveryRoom(async () => {
    if (isBroken) {
      isBroken = false;
      throw new Error('a fault of ours');
    }
  });
  await room.put(GOOD);
  await room.logged('Parcel was not delivered: something failed here');
  await room.logged('Parcel sent');
  await room.worker.check();
});
