/**
 * A process of strangers who do their worst to a gateway, from many /24s of this machine: `flood.ts KIND POWEB POHTTP
 * COGRPC`.
 * It goes on until it is killed, and reports when told how many connections it has made.
 */
import { randomBytes } from 'node:crypto';
import { type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { constants, setPriority } from 'node:os';

/** Connections that one process holds open. */
const OPEN = 3000;

/** How many are made at once. */
const BATCH = 10;

const PAUSE = 50;

/** Neighbourhoods (/24) that the connections come from. */
const NEIGHBOURHOODS = 200;

const [, , kind = '', poweb = '', pohttp = '', cogrpc = ''] = process.argv;

const UPGRADE =
  'GET /v1/parcel-collection HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';

const rubbish = randomBytes(1024 * 1024);

/** Calls of one connection, as many as it may have. */
const CALLS = 8;

/** Makes all calls that a connection to the door of couriers may have. */
function callMany(socket: Socket, path: string, begin: (call: ClientHttp2Stream) => void): void {
  const session = connectHttp2(cogrpc, { createConnection: () => socket });
  session.on('error', () => socket.destroy());
  for (let number = 0; number < CALLS; number++) {
    const call = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    call.on('error', () => undefined).resume();
    begin(call);
  }
}

/** What each kind of stranger does with a connection. */
const KINDS: Readonly<Record<string, { url: string; begin(socket: Socket): void; goOn(socket: Socket): void }>> = {
  /** Large bodies that come as slowly as is borne once most of them is there. */
  bodies: {
    url: pohttp,
    begin: (socket) => {
      socket.write(
        'POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/vnd.awala.parcel\r\nContent-Length: 9000000\r\n\r\n',
      );
      for (let sent = 0; sent < 8; sent++) {
        socket.write(rubbish);
      }
    },
    goOn: (socket) => socket.write(rubbish.subarray(0, 2048)),
  },
  /** As many headers as are taken, without an end. */
  headers: {
    url: poweb,
    begin: (socket) => {
      socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${`X-Padding: ${'x'.repeat(1000)}\r\n`.repeat(28)}`);
    },
    goOn: (socket) => socket.write('X: y\r\n'),
  },
  /** Handshakes of collections that are begun and never answered. */
  handshakes: {
    url: poweb,
    begin: (socket) => socket.write(UPGRADE),
    goOn: () => undefined,
  },
  /** Answers to the challenge that nearly reach the largest size and do not end. */
  messages: {
    url: poweb,
    begin: (socket) => {
      socket.write(UPGRADE);
      // A masked binary frame of 65,000 octets, but for the last.
      socket.write(Buffer.from([0x82, 0xfe, 0xfd, 0xe8, 0, 0, 0, 0]));
      socket.write(rubbish.subarray(0, 64_999));
    },
    goOn: () => undefined,
  },
  /** Cargoes of 4 MiB that never end, over all calls of a connection. */
  calls: {
    url: cogrpc,
    begin: (socket) =>
      callMany(socket, '/awala.cogrpc.CargoRelay/DeliverCargo', (call) => {
        call.write(Buffer.from([0, 0, 0x40, 0, 1]));
        call.write(rubbish);
        call.write(rubbish);
      }),
    goOn: () => undefined,
  },
  /** Watches of the health service, all that a connection may have. */
  watches: {
    url: cogrpc,
    begin: (socket) => callMany(socket, '/grpc.health.v1.Health/Watch', (call) => call.end(Buffer.alloc(5))),
    goOn: () => undefined,
  },
};

// Strangers have machines of their own: here they must not take the gateway's from it.
setPriority(constants.priority.PRIORITY_LOW);

const worst = KINDS[kind];
if (!worst) {
  throw new Error(`There are no strangers who do ${kind}`);
}
const { url, begin, goOn } = worst;
const { hostname, port } = new URL(url);
const open = new Set<Socket>();
let connections = 0;
let made = 0;

function attack(): void {
  const number = made++ % NEIGHBOURHOODS;
  const socket = connect({ host: hostname, port: Number(port), localAddress: `127.77.${number}.1` });
  open.add(socket);
  socket.on('connect', () => {
    connections++;
    begin(socket);
  });
  socket.on('error', () => socket.destroy());
  socket.on('data', () => undefined);
  socket.on('close', () => open.delete(socket));
}

setInterval(() => {
  for (let number = 0; number < BATCH && open.size < OPEN; number++) {
    attack();
  }
}, PAUSE);
setInterval(() => {
  for (const socket of open) {
    if (socket.writable) {
      goOn(socket);
    }
  }
}, 1000);
process.on('message', () => process.send?.({ kind, connections }));
