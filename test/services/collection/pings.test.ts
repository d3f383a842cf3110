/** Pings, pongs and the fragments between them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { WebSocket } from 'ws';
import { CollectionClient } from '../../support/collection-client.ts';
import { openCollectionDoor } from '../../support/collection-door.ts';
import { type Frame, Opcode, tapFrames } from '../../support/frames.ts';

/** How much later than due anything may come, in milliseconds: the door looks every 250 ms. */
const SLACK = 1000;

/** Timers may be some milliseconds early. */
const TIMER_SLACK = 20;

const MAX_FRAGMENT = 64 * 1024;

/** Makes a client read some 500 kB a second, while the operating system's buffers would take megabytes at once. */
function slowDown(socket: WebSocket): void {
  socket.once('upgrade', ({ socket: connection }: IncomingMessage) => {
    socket.once('open', () => {
      connection.on('data', ({ length }: Buffer) => {
        connection.pause();
        setTimeout(() => connection.resume(), length / 500);
      });
    });
  });
}

/**
 * Resolves so many milliseconds later, when what the door had to do by then has come to its clients. It runs in this process,
 * whose timers fire in the order in which they are due, however late a busy machine has them.
 */
async function dueAfter(milliseconds: number, alive: CollectionClient): Promise<void> {
  await pause(milliseconds, undefined, { ref: false });
  for (let round = 0; round < 5; round++) {
    await alive.settled();
  }
}

describe('Pings', { concurrency: true, timeout: 120_000 }, () => {
  it('come every five seconds, counted from the opening, during the handshake too', async () => {
    await using door = await openCollectionDoor();
    const start = performance.now();
    using silent = await CollectionClient.connect(door.url);
    using collecting = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    await Promise.all(
      [silent, collecting].map(async (client) => {
        for (const count of [1, 2, 3]) {
          await Promise.race([client.pinged(count), dueAfter(5000 + SLACK, client)]);
          assert.equal(client.pings.length, count, 'pings by then');
        }
        // The first comes anywhere in the second half of its interval.
        const took = performance.now() - start;
        assert.ok(took >= 12_500 - TIMER_SLACK, `three pings in ${took} ms`);
      }),
    );
  });

  it('unanswered for nine seconds, end the connection', async () => {
    await using door = await openCollectionDoor();
    using alive = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    const start = performance.now();
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway], { autoPong: false });
    const closure = await Promise.race([client.closed, dueAfter(9000 + SLACK, alive)]);
    const took = performance.now() - start;
    assert.equal(closure?.code, 1006);
    assert.ok(took >= 9000 - TIMER_SLACK, `ended after ${took} ms`);
    await alive.settled();
  });

  it('by the client are answered at once, with their payload, during the handshake too', async () => {
    await using door = await openCollectionDoor();
    using client = await CollectionClient.connect(door.url);
    client.socket.ping('payload');
    const [payload] = await once(client.socket, 'pong');
    assert.equal(String(payload), 'payload');
    await client.answerChallenge([door.chain.privateGateway]);
    client.socket.ping('another');
    assert.equal(String((await once(client.socket, 'pong'))[0]), 'another');
  });
});

describe('A large parcel', { timeout: 120_000 }, () => {
  it('comes in fragments of 64 KiB at most, with pings between them', async () => {
    await using door = await openCollectionDoor();
    const parcel = await door.put({ payload: Buffer.alloc(3 * 1024 * 1024, 'large') });
    let frames: Frame[] = [];
    const tap = (socket: CollectionClient['socket']) => {
      frames = tapFrames(socket);
    };
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway], { onSocket: tap });
    assert.ok((await client.collectNext()).equals(parcel));
    await door.emptied();

    const [challenge, ...others] = frames;
    assert.equal(challenge?.opcode, Opcode.BINARY);
    const first = others.findIndex(({ opcode }) => opcode === Opcode.BINARY);
    const last = others.findIndex(({ opcode, isLast }) => opcode === Opcode.CONTINUATION && isLast);
    const message = others.slice(first, last + 1);
    const fragments = message.filter(({ opcode }) => opcode < Opcode.CLOSE);
    assert.ok(fragments.length >= 48, `${fragments.length} fragments`);
    assert.ok(fragments.every(({ length }) => length <= MAX_FRAGMENT));
    assert.ok(message.some(({ opcode }) => opcode === Opcode.PING));
    assert.equal(message.length, fragments.length + message.filter(({ opcode }) => opcode === Opcode.PING).length);
  });

  it('reaches a slow client whose pings come in time meanwhile', async () => {
    const pingInterval = 500;
    await using door = await openCollectionDoor({ times: { pingInterval, pongTimeout: 4500 } });
    const parcel = await door.put({ payload: Buffer.alloc(3_000_000, 'large') });
    const start = performance.now();
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway], { onSocket: slowDown });
    const delivered = await client.collectNext();
    assert.ok(delivered.equals(parcel));
    const duration = performance.now() - start;
    assert.ok(duration > 5000, `took only ${duration} ms`);
    const times = [0, ...client.pings];
    const longest = Math.max(...times.slice(1).map((time, place) => time - (times[place] ?? 0)));
    assert.ok(longest <= 3500, `no ping for ${longest} ms`);
    await client.settled();
  });
});
