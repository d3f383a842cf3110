/**
 * A process of private gateways that have registered, as everybody may, and then do their worst: each fills its own
 * mailbox, and opens collections that acknowledge nothing, as fast as it can: `registered-flood.ts POWEB`. It goes on
 * until it is killed, and reports when told how many collections it has begun.
 */
import { constants, setPriority } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import {
  readHandshakeChallenge,
  writeHandshakeResponse,
  writeNonceSignature,
} from '../../src/awala/poweb/collection-handshake.ts';
import { Endpoint } from '../../src/doctor/endpoint.ts';
import { PrivateGateway } from '../../src/doctor/private-gateway.ts';

const PEERS = 6;

/** Parcels in each mailbox: more than a collection keeps in mind. */
const PARCELS = 525;

/** Parcels that are on their way at once. */
const BATCH = 7;

/** Collections that one may begin in a minute; it paces itself, since refused ones only wait. */
const PAUSE = 100;

const [, , poweb = ''] = process.argv;
let connections = 0;

/** Goes on when anything fails: in a flood much does. */
async function withoutEnd(attempt: () => Promise<unknown>): Promise<never> {
  for (;;) {
    await attempt().catch(() => undefined);
    await pause(PAUSE);
  }
}

async function attack(): Promise<void> {
  const peer = await PrivateGateway.create(new URL(`${poweb}/`), new AbortController().signal);
  const { nodeCertificate: certificate } = await peer.register(await peer.preRegister());
  const endpoint = await Endpoint.create({ key: peer.key, certificate });
  const signer = { key: peer.key.signing, certificate };
  const deliver = async () =>
    peer.deliver(await endpoint.writeParcel(undefined, Date.now(), Buffer.alloc(10_000)), certificate);
  const fill = async () => {
    for (let sent = 0; sent < PARCELS; sent += BATCH) {
      await Promise.allSettled(Array.from({ length: BATCH }, deliver));
    }
  };
  const collect = async () => {
    const socket = new WebSocket(`${poweb.replace('http', 'ws')}/v1/parcel-collection`, { perMessageDeflate: false });
    socket.on('error', () => socket.terminate());
    const nextMessage = () =>
      new Promise<Buffer>((resolve, reject) => {
        socket.once('message', (message: Buffer) => resolve(message)).once('close', reject);
      });
    const nonce = readHandshakeChallenge(await nextMessage());
    socket.send(writeHandshakeResponse([await writeNonceSignature(nonce, signer)]));
    await nextMessage();
    connections++;
  };
  await Promise.all([withoutEnd(fill), withoutEnd(collect)]);
}

// As in `flood.ts`.
setPriority(constants.priority.PRIORITY_LOW);

for (let number = 0; number < PEERS; number++) {
  void withoutEnd(attack);
}
process.on('message', () => process.send?.({ kind: 'collections', connections }));
