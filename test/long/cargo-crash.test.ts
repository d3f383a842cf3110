/**
 * What a courier was told to carry no more arrives, however often the process dies while it opens the cargo: each parcel
 * where it should be, none missing, none that nobody sent.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { writeCargoMessageSet } from '../../src/awala/cargo/cargo-message-set.ts';
import { writeEnvelopedData } from '../../src/awala/cms/write-enveloped-data.ts';
import type { Registration } from '../../src/awala/poweb/registration.ts';
import { RamfType } from '../../src/awala/ramf/ramf-message.ts';
import { writeRamfMessage } from '../../src/awala/ramf/write-ramf.ts';
import { openLocalBackends } from '../../src/backends/local/local-backends.ts';
import { Endpoint } from '../../src/doctor/endpoint.ts';
import { PrivateGateway } from '../../src/doctor/private-gateway.ts';
import { CollectedParcels } from '../../src/gateway/cargo/collected-parcels.ts';
import { machineClock, machineRandom } from '../../src/machine.ts';
import { chooseSeed, seededChance } from '../support/chance.ts';
import { type LogLine, type SpawnedGateway, spawnGateway, temporaryDirectory } from '../support/gateway.ts';
import { newSessionKey } from '../support/pki.ts';
import { RawCourier } from '../support/raw-courier.ts';

const KILLS = 20;
const PARCELS = 500;

/** Of the parcels so many are for nodes on the Internet, and wait in the outbox. */
const INTERNET_BOUND = 0.2;

const HOUR = 3_600_000;
const PAUSE = 5;

const ENVIRONMENT = {
  MAILBOX_PARCELS: '100000',
  OUTBOX_PARCELS: '100000',
  // Nothing is to leave.
  RESOLVER_URL: 'https://127.0.0.1:9/',
  ALLOW_PRIVATE_DESTINATIONS: 'true',
  SERVICES: 'poweb,collection,cogrpc,worker',
};

test(`each parcel of cargo arrives when the gateway is killed ${KILLS} times while it opens a cargo`, {
  timeout: 600_000,
}, async (t) => {
  const seed = chooseSeed();
  t.diagnostic(`SEED=${seed} gives the same moments`);
  const chance = seededChance(seed);
  const directory = temporaryDirectory();
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const start = () => spawnGateway({ directory, environment: ENVIRONMENT });

  let gateway = await start();
  t.after(() => gateway.end('SIGKILL'));
  const end = new AbortController();
  const sender = await register(gateway, end.signal);
  const recipients = [await register(gateway, end.signal), await register(gateway, end.signal)];
  const endpoints = await Promise.all(recipients.map(({ node }) => Endpoint.create(node)));

  /** Prefix of where it should be, by the digest of a parcel. */
  const expected = new Map<string, string>();
  let killsInTheMiddle = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const parcels: Buffer[] = [];
    for (let number = 0; number < PARCELS; number++) {
      const which = number % recipients.length;
      const isForInternet = chance() < INTERNET_BOUND;
      const address = isForInternet ? 'elsewhere.example.com' : undefined;
      const parcel = await (endpoints[which] as Endpoint).writeParcel(address, Date.now(), randomBytes(200));
      parcels.push(parcel);
      expected.set(digest(parcel), isForInternet ? `outbox/${sender.id}/` : `mailboxes/${recipients[which]?.id}/`);
    }
    const id = randomUUID();
    await deliver(gateway, await writeCargo(sender, id, parcels));
    const taken = await logged(gateway, Math.ceil(chance() * PARCELS), ({ msg }) => msg === 'Parcel accepted');
    await gateway.end('SIGKILL');
    const isOpened = gateway.log.some(({ msg, cargo }) => msg === 'Cargo opened' && cargo === id);
    killsInTheMiddle += isOpened ? 0 : 1;
    t.diagnostic(`killed after ${taken} parcels${isOpened ? ', too late' : ''}`);
    gateway = await start();
  }
  // Cargo of one private gateway is opened in the order of its coming.
  const last = randomUUID();
  await deliver(gateway, await writeCargo(sender, last, []));
  await logged(gateway, 1, ({ msg, cargo }) => msg === 'Cargo opened' && cargo === last);
  await gateway.end('SIGKILL');
  end.abort();

  await using backends = await openLocalBackends({ directory, clock: machineClock, random: machineRandom });
  const found = new Map<string, string>();
  for (const prefix of new Set(expected.values())) {
    for await (const { key } of backends.objects.list(prefix)) {
      const stored = await backends.objects.get(key);
      assert.ok(stored);
      found.set(digest(stored.body), prefix);
    }
  }
  assert.deepEqual(found, expected);
  assert.deepEqual(await Array.fromAsync(backends.objects.list('cargo/')), []);
  const { records, meters } = backends;
  const owed = new CollectedParcels({ records, meters, clock: machineClock }).owedTo(sender.id);
  assert.equal((await Array.fromAsync(owed)).length, expected.size);
  t.diagnostic(`${expected.size} parcels arrived; ${killsInTheMiddle} of ${KILLS} kills fell into a cargo`);
  assert.ok(killsInTheMiddle >= KILLS / 2, 'too few kills fell into a cargo to tell anything');
});

interface Registered {
  readonly id: string;
  readonly node: { readonly key: PrivateGateway['key']; readonly certificate: Registration['nodeCertificate'] };
  readonly registration: Registration;
}

async function register(gateway: SpawnedGateway, signal: AbortSignal): Promise<Registered> {
  const client = await PrivateGateway.create(new URL(`${gateway.poweb}/`), signal);
  const registration = await client.register(await client.preRegister());
  const certificate = registration.nodeCertificate;
  return { id: certificate.subjectId, node: { key: client.key, certificate }, registration };
}

function writeCargo(
  { node, registration }: Registered,
  messageId: string,
  parcels: readonly Buffer[],
): Promise<Buffer> {
  const { sessionKey, gatewayCertificate } = registration;
  assert.ok(sessionKey);
  const payload = writeEnvelopedData({
    plaintext: writeCargoMessageSet(parcels),
    recipient: sessionKey,
    sender: newSessionKey(),
    random: machineRandom,
  });
  const message = {
    recipient: { id: gatewayCertificate.subjectId },
    messageId,
    creation: Date.now() - 1.5 * HOUR,
    ttl: (24 * HOUR) / 1000,
    payload,
  };
  return writeRamfMessage(RamfType.CARGO, message, { key: node.key.signing, certificate: node.certificate });
}

async function deliver(gateway: SpawnedGateway, cargo: Buffer): Promise<void> {
  using courier = new RawCourier(gateway.cogrpc);
  const call = courier.deliverCargo();
  await call.send('1', cargo);
  call.stream.end();
  assert.equal(await call.ended(), status.OK);
}

/** Waits until the gateway has logged so many lines of a kind. */
async function logged({ log }: SpawnedGateway, count: number, is: (line: LogLine) => boolean): Promise<number> {
  for (;;) {
    const found = log.filter(is).length;
    if (found >= count) {
      return found;
    }
    await pause(PAUSE);
  }
}

function digest(parcel: Buffer): string {
  return createHash('sha256').update(parcel).digest('hex');
}
