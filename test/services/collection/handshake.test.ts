/** How a collection begins: the WebSocket, the challenge, and the client's answer to it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import {
  MAX_HANDSHAKE_RESPONSE_OCTETS,
  readHandshakeChallenge,
  writeHandshakeResponse,
  writeNonceSignature,
} from '../../../src/awala/poweb/collection-handshake.ts';
import { CollectionClient } from '../../support/collection-client.ts';
import { openCollectionDoor, type TestCollectionDoor } from '../../support/collection-door.ts';
import { selfIssued, testIdentity } from '../../support/pki.ts';
import { newTlsCertificate } from '../../support/tls-certificate.ts';

const FAILURE_DELAY = 300;

/** Ways to send more than any response has. */
const TOO_LONG: Readonly<Record<string, (socket: WebSocket) => void>> = {
  'one message': (socket) => socket.send(Buffer.alloc(MAX_HANDSHAKE_RESPONSE_OCTETS + 1)),
  'in parts': (socket) => {
    socket.send(Buffer.alloc(MAX_HANDSHAKE_RESPONSE_OCTETS), { fin: false });
    socket.send(Buffer.alloc(1), { fin: true });
  },
  'too many parts': (socket) => {
    for (let part = 0; part < 100; part++) {
      socket.send(Buffer.alloc(1), { fin: false });
    }
  },
};

describe('The handshake of a collection', () => {
  let door: TestCollectionDoor;

  before(async () => {
    door = await openCollectionDoor({ times: { failureDelay: FAILURE_DELAY, handshakeTimeout: 1500 } });
  });

  after(() => door[Symbol.asyncDispose]());

  it('begins with a challenge, each time another', async () => {
    using one = await CollectionClient.connect(door.url);
    using other = await CollectionClient.connect(door.url);
    const nonce = readHandshakeChallenge(await one.nextMessage());
    assert.equal(nonce.length, 16);
    assert.notDeepEqual(readHandshakeChallenge(await other.nextMessage()), nonce);
  });

  it('lets one client collect for every private gateway that signed the nonce', async () => {
    const { chain, otherChain } = door;
    const one = await door.put();
    const other = await door.put({}, otherChain);
    using client = await CollectionClient.collect(door.url, [chain.privateGateway, otherChain.privateGateway]);
    assert.deepEqual(await client.collectNext(), one);
    assert.deepEqual(await client.collectNext(), other);
  });

  it('is refused with 1003, after a pause, when one of several signatures is by a stranger', async () => {
    const stranger = await selfIssued(await testIdentity('stranger'));
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway, stranger]);
    const { code, after: time } = await client.closed;
    assert.equal(code, 1003);
    assert.ok(time >= FAILURE_DELAY - 1, `closed after ${time} ms`);
  });

  it('is refused with 1003 when the signature is of another nonce', async () => {
    using client = await CollectionClient.connect(door.url);
    const nonce = readHandshakeChallenge(await client.nextMessage());
    nonce.writeUInt8(nonce.readUInt8(0) ^ 1);
    client.socket.send(writeHandshakeResponse([await writeNonceSignature(nonce, door.chain.privateGateway)]));
    assert.equal((await client.closed).code, 1003);
  });

  it('is refused with 1003 when the response is malformed or has no signature', async () => {
    for (const response of [Buffer.from('not a response'), Buffer.alloc(0), writeHandshakeResponse([])]) {
      using client = await CollectionClient.connect(door.url);
      await client.nextMessage();
      client.socket.send(response);
      assert.equal((await client.closed).code, 1003);
    }
  });

  it('is over with 1003 when the client does not answer in time', async () => {
    using client = await CollectionClient.connect(door.url);
    assert.equal((await client.closed).code, 1003);
  });

  for (const [what, frames] of Object.entries(TOO_LONG)) {
    it(`is refused with 1003, after a pause, when the response is beyond all size (${what})`, async () => {
      using client = await CollectionClient.connect(door.url);
      await client.nextMessage();
      const sent = performance.now();
      frames(client.socket);
      assert.equal((await client.closed).code, 1003);
      const time = performance.now() - sent;
      assert.ok(time >= FAILURE_DELAY - 1, `closed after ${time} ms`);
    });
  }

  it('leaves room for acknowledgements only: what is longer is not even awaited', async () => {
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    await client.settled();
    // The head of a masked frame of 60,000 octets, most of which never come.
    const { _socket: socket } = client.socket as unknown as { _socket: Socket };
    socket.write(Buffer.from([0x82, 0xfe, 0xea, 0x60, 0, 0, 0, 0, 1, 2, 3]));
    assert.equal((await client.closed).code, 1003);
  });

  it('is not begun with browsers: 1008 when there is an Origin header', async () => {
    using client = await CollectionClient.connect(door.url, { headers: { Origin: 'https://example.com' } });
    assert.equal((await client.closed).code, 1008);
    assert.equal(client.waiting, 0);
  });

  it('declines compression', async () => {
    const socket = new WebSocket(`${door.url.replace('http', 'ws')}/v1/parcel-collection`, { perMessageDeflate: true });
    const [[response]] = await Promise.all([once(socket, 'upgrade'), once(socket, 'open')]);
    assert.equal(response.headers['sec-websocket-extensions'], undefined);
    assert.equal(socket.extensions, '');
    socket.terminate();
  });

  it('answers 426 to plain HTTP, and WebSocket elsewhere as plain HTTP', async () => {
    const response = await fetch(`${door.url}/v1/parcel-collection`);
    assert.equal(response.status, 426);
    assert.equal(response.headers.get('upgrade'), 'websocket');
    const socket = new WebSocket(`${door.url.replace('http', 'ws')}/v1/elsewhere`);
    const [, elsewhere] = await once(socket, 'unexpected-response');
    assert.equal(elsewhere.statusCode, 404);
    socket.on('error', () => {});
    socket.terminate();
  });

  it('survives clients that vanish at any moment of it', async () => {
    const { port } = new URL(door.url);
    const whole = await CollectionClient.connect(door.url);
    await whole.nextMessage();
    whole.socket.terminate();
    const half = connect(Number(port));
    half.write('GET /v1/parcel-collection HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n');
    half.destroy();
    const short = connect(Number(port));
    short.write(
      'GET /v1/parcel-collection HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await once(short, 'data');
    short.resetAndDestroy();
    using client = await CollectionClient.collect(door.url, [door.otherChain.privateGateway]);
    await client.settled();
  });
});

describe('A collection over TLS', () => {
  it('works as without', async () => {
    using certificate = await newTlsCertificate('gateway.example.com');
    await using door = await openCollectionDoor({ http: { tls: certificate } });
    const tls = { ca: certificate.certificate, servername: 'gateway.example.com' };
    const parcel = await door.put();
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway], { tls });
    assert.deepEqual(await client.collectNext(), parcel);
    await door.emptied();
  });
});

describe('Failed handshakes', () => {
  it('are limited: a neighbourhood that failed too often is answered 503 for a while', async () => {
    await using door = await openCollectionDoor({
      times: { failureDelay: 1 },
      rates: { failedHandshake: { limit: 2, period: 100_000 } },
    });
    for (const response of ['nonsense', 'nonsense', Buffer.alloc(MAX_HANDSHAKE_RESPONSE_OCTETS + 1)]) {
      using client = await CollectionClient.connect(door.url);
      client.socket.send(response);
      assert.equal((await client.closed).code, 1003);
    }
    const socket = new WebSocket(`${door.url.replace('http', 'ws')}/v1/parcel-collection`);
    const [, response] = await once(socket, 'unexpected-response');
    assert.equal(response.statusCode, 503);
    assert.equal(response.headers['retry-after'], '10');
    socket.on('error', () => {});
    socket.terminate();
    door.room.clock.advance(10_001);
    using client = await CollectionClient.collect(door.url, [door.chain.privateGateway]);
    await client.settled();
  });

  it('count for the client behind a trusted proxy, not for the proxy', async () => {
    await using door = await openCollectionDoor({
      times: { failureDelay: 1 },
      rates: { failedHandshake: { limit: 1, period: 100_000 } },
      http: { trustedProxies: ['127.0.0.0/8'] },
    });
    const from = (address: string) => ({ headers: { 'X-Forwarded-For': `203.0.113.9, ${address}` } });
    for (let attempt = 0; attempt < 2; attempt++) {
      using client = await CollectionClient.connect(door.url, from('192.0.2.1'));
      client.socket.send('nonsense');
      await client.closed;
    }
    await assert.rejects(CollectionClient.connect(door.url, from('192.0.2.77')), /503/);
    using client = await CollectionClient.connect(door.url, from('198.51.100.1'));
    await client.nextMessage();
  });
});
