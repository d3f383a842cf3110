/**
 * The least that durable delivery can cost: an empty fastify handler that takes the same body, the signature checks
 * that a parcel needs, and one write and sync that all bodies share which came meanwhile. Run as a process of its own;
 * prints its URL.
 */
import { constants, generateKeyPairSync, sign, verify } from 'node:crypto';
import { fdatasync, openSync, unlinkSync, write } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import fastify from 'fastify';
import { PARCEL_TYPE } from '../../src/doctor/private-gateway.ts';

/** Of the countersignature and of the parcel; the senders' certificates are known. */
const SIGNATURE_CHECKS = 2;

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
const data = Buffer.alloc(110, 'signed attributes');
const signature = sign('sha256', data, { key: privateKey, ...pss });

const file = path.join(tmpdir(), `relay-gateway-floor-${process.pid}`);
const descriptor = openSync(file, 'w');
unlinkSync(file);
const append = promisify(write) as (descriptor: number, bytes: Buffer) => Promise<unknown>;
const sync = promisify(fdatasync);

let waiting: { body: Buffer; stored: () => void }[] = [];
let isWriting = false;

function store(body: Buffer): Promise<void> {
  return new Promise((stored) => {
    waiting.push({ body, stored });
    if (!isWriting) {
      void writeWaiting();
    }
  });
}

async function writeWaiting(): Promise<void> {
  isWriting = true;
  while (waiting.length > 0) {
    const batch = waiting;
    waiting = [];
    await append(descriptor, Buffer.concat(batch.map(({ body }) => body)));
    await sync(descriptor);
    for (const { stored } of batch) {
      stored();
    }
  }
  isWriting = false;
}

const app = fastify({ logger: false, bodyLimit: 16 * 1024 ** 2 });
app.addContentTypeParser(PARCEL_TYPE, { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
app.post('/v1/parcels', async (request, reply) => {
  for (let check = 0; check < SIGNATURE_CHECKS; check++) {
    if (!verify('sha256', data, { key: publicKey, ...pss }, signature)) {
      throw new Error('A good signature was found bad');
    }
  }
  await store(request.body as Buffer);
  return reply.code(202).send();
});
console.log(await app.listen({ host: '127.0.0.1', port: 0 }));
