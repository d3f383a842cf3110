/**
 * A gateway is destroyed with all of its stores, and restored from a backup onto new ones: what its private gateways, which
 * are the official JavaScript libraries, notice of that.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { StreamingMode } from '@relaycorp/relaynet-core';
import { type BackupAnswer, openVault, type RestoreAnswer, type Vault } from '../support/backups.ts';
import { type Cloud, needsCloud, startCloud } from '../support/cloud.ts';
import type { Addresses } from '../support/deployment.ts';
import { startFleet } from '../support/fleet.ts';
import { startGateway } from '../support/gateway.ts';
import { OfficialChannel, type OfficialItem } from '../support/official-channel.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from '../support/official-client.ts';
import { collectOfficially, deliverOfficially, officialCargo, officialCourier } from '../support/official-courier.ts';

const PAUSE = 20;

type Line = Readonly<Record<string, unknown>>;

/** Where a gateway is, and is lost. */
interface Stores extends AsyncDisposable {
  /** Settings of commands on these stores. */
  readonly environment: Readonly<Record<string, string>>;
  start(onLine: (line: Line) => void): Promise<Addresses & AsyncDisposable>;
  /** Destroys all that the gateway had, but for keys that never leave their keeper; empty ones are in their place. */
  lose(): Promise<void>;
}

/** All in a data directory. */
async function openDirectory(vault: Vault): Promise<Stores> {
  let directory = vault.file('old-data');
  return {
    get environment() {
      return { DATA_DIR: directory };
    },
    start: (onLine) => startGateway({ directory, log: { write: (line: string) => onLine(JSON.parse(line)) } }),
    async lose() {
      rmSync(directory, { recursive: true });
      directory = vault.file('new-data');
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** A fleet on cloud backends, of which Firestore, the bucket and Redis are lost. */
async function openCloud(vault: Vault): Promise<Stores> {
  await using stack = new AsyncDisposableStack();
  const first = stack.use(await startCloud());
  const resources = stack.move();
  let cloud: Cloud = first;
  return {
    get environment() {
      return { ...cloud.environment, DATA_DIR: vault.file('backup-pod') };
    },
    async start(onLine) {
      const fleet = await startFleet({ cloud });
      fleet.listen(onLine);
      return { ...fleet.addresses, [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose]() };
    },
    async lose() {
      cloud = resources.use(await startCloud({ kms: first.kms, firestore: first.firestore }));
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

describe('With all in its data directory', () => restored(openDirectory));
describe('On cloud backends, each service a process', needsCloud(), () => restored(openCloud));

function restored(open: (vault: Vault) => Promise<Stores>): void {
  describe('A gateway that was restored from its backup', () => {
    const lines: Line[] = [];
    const onLine = (line: Line) => void lines.push(line);
    let vault: Vault;
    let stores: Stores;
    let gateway: Addresses & AsyncDisposable;
    /** Where the gateway was before, and is now. */
    let old: { nodeId: string };

    // By PoWeb.
    let sender: OfficialPrivateGateway;
    let recipient: OfficialPrivateGateway;
    let endpoint: OfficialEndpoint;
    let authorized: OfficialSender;
    let late: OfficialPrivateGateway;

    // By courier.
    let steady: OfficialChannel;
    let quiet: OfficialChannel;
    let recent: OfficialChannel;
    let spent: Buffer;
    let taken: Buffer;
    let backup: BackupAnswer;

    before(async () => {
      vault = await openVault();
      stores = await open(vault);
      gateway = await stores.start(onLine);
      old = { nodeId: gateway.nodeId };
      sender = await OfficialPrivateGateway.register(gateway.poweb);
      recipient = await OfficialPrivateGateway.register(gateway.poweb);
      steady = await OfficialChannel.register(gateway.poweb);
      quiet = await OfficialChannel.register(gateway.poweb);
      recent = await OfficialChannel.register(gateway.poweb);
      endpoint = await recipient.newEndpoint();
      authorized = await endpoint.authorize(await newOfficialIdentity());

      // Parcels went to and fro by both ways; one came in cargo and waits, and its acknowledgement is owed.
      await sender.deliver(await newParcel('before'));
      assert.equal((await recipient.collectAll()).length, 1);
      await deliverCargo(await quiet.newCargo([Buffer.from(await newParcel('by courier'))]));
      taken = Buffer.from(await newParcel('taken from cargo and lost with its mailbox'));
      await deliverCargo(await officialCargo(sender, [taken]));
      await collectCargo(recent, await recent.newCca());
      await deliverCargo(await steady.newCargo([Buffer.from(await newParcel('by courier'))]));
      // In this cargo is a new session key of the gateway's.
      assert.equal((await collectCargo(steady, await steady.newCca())).length, 1);

      const file = vault.file('last-night.backup');
      backup = await vault.ask<BackupAnswer>(['backup', '--to', file], stores.environment);

      // What came after the backup is not in it.
      late = await OfficialPrivateGateway.register(gateway.poweb);
      await sender.deliver(await newParcel('lost'));
      spent = await quiet.newCca();
      await collectCargo(quiet, spent);
      const news = await recent.privateGateway.newEndpoint();
      await recent.privateGateway.deliver(
        await news.writeParcel(await news.authorize(await newOfficialIdentity()), Buffer.from('news')),
      );
      // In this cargo is a new session key of the gateway's.
      assert.equal((await collectCargo(recent, await recent.newCca())).length, 1);

      await gateway[Symbol.asyncDispose]();
      await stores.lose();

      const outcome = await vault.ask<RestoreAnswer>(
        ['restore', '--from', file, '--recovery-key', vault.keyFile],
        stores.environment,
      );
      assert.equal(outcome.nodeId, old.nodeId);
      assert.equal(outcome.id, backup.id);
      gateway = await stores.start(onLine);
      sender = sender.at(gateway.poweb);
      recipient = recipient.at(gateway.poweb);
      late = late.at(gateway.poweb);
    });

    after(async () => {
      await gateway?.[Symbol.asyncDispose]();
      await stores?.[Symbol.asyncDispose]();
      vault?.[Symbol.dispose]();
    });

    const newParcel = (payload: string) => endpoint.writeParcel(authorized, Buffer.from(payload));

    async function withCourier<Result>(use: (courier: Awaited<ReturnType<typeof officialCourier>>) => Promise<Result>) {
      const courier = await officialCourier(gateway.cogrpc);
      try {
        return await use(courier);
      } finally {
        courier.close();
      }
    }

    /** Delivers a cargo, and waits until it was opened or refused. */
    async function deliverCargo(cargo: Buffer): Promise<Line> {
      const isDone = ({ msg }: Line) => msg === 'Cargo opened' || msg === 'Cargo refused';
      const done = () => lines.filter(isDone);
      const before = done().length;
      await withCourier((courier) => deliverOfficially(courier, [cargo]));
      while (done().length === before) {
        await delay(PAUSE);
      }
      return done().at(-1) ?? {};
    }

    function collectCargo(channel: OfficialChannel, cca: Buffer): Promise<OfficialItem[]> {
      return withCourier(async (courier) => {
        const items: OfficialItem[] = [];
        for (const cargo of await collectOfficially(courier, cca)) {
          items.push(...(await channel.open(cargo)));
        }
        return items;
      });
    }

    test('is the same gateway to those who register', async () => {
      assert.equal(gateway.nodeId, old.nodeId);
      const newcomer = await OfficialPrivateGateway.register(gateway.poweb);
      assert.deepEqual(await newcomer.collectAll(), []);
    });

    test('takes and gives parcels by PoWeb under the registrations of before', async () => {
      // What waited is lost; what comes from now on is there.
      assert.deepEqual(await recipient.collectAll(), []);
      const parcel = await newParcel('after');
      await sender.deliver(parcel);
      assert.deepEqual(await recipient.collectAll(), [Buffer.from(parcel)]);
      const handshake = Promise.withResolvers<void>();
      const collections = recipient.collect(StreamingMode.KEEP_ALIVE, handshake.resolve);
      const next = collections.next();
      await handshake.promise;
      const live = await newParcel('live');
      await sender.deliver(live);
      const { value } = await next;
      assert.deepEqual(Buffer.from(value.parcelSerialized), Buffer.from(live));
      await value.ack();
      await collections.return(undefined);
      // The one that was acknowledged last may still be on its way out; a collection that completes has seen it go.
      await recipient.collectAll();
    });

    test('serves those, too, who registered after the backup: its key issued their certificates', async () => {
      const mine = await late.newEndpoint();
      const parcel = await mine.writeParcel(await mine.authorize(await newOfficialIdentity()), randomBytes(64));
      await late.deliver(parcel);
      assert.deepEqual(await late.collectAll(), [Buffer.from(parcel)]);
    });

    test('takes a parcel again that had come in cargo and was lost, rather than take it for one that is there', async () => {
      assert.equal((await deliverCargo(await officialCargo(sender, [taken])))['msg'], 'Cargo opened');
      assert.deepEqual(await recipient.collectAll(), [taken]);
    });

    test('goes on by courier where the newest session key is older than the backup', async () => {
      const waiting = await steady.privateGateway.newEndpoint();
      const parcel = await waiting.writeParcel(await waiting.authorize(await newOfficialIdentity()), randomBytes(64));
      await sender.deliver(parcel);
      const items = await collectCargo(steady, await steady.newCca());
      assert.ok(items.some(({ bytes }) => bytes.equals(Buffer.from(parcel))));
    });

    test('loses no parcel to whoever replays an authorization that was spent after the backup', async () => {
      const waiting = await quiet.privateGateway.newEndpoint();
      const parcel = await waiting.writeParcel(await waiting.authorize(await newOfficialIdentity()), randomBytes(64));
      await sender.deliver(parcel);
      const items = await collectCargo(quiet, spent);
      assert.ok(items.some(({ bytes }) => bytes.equals(Buffer.from(parcel))));
      await assert.rejects(collectCargo(quiet, spent), /PERMISSION_DENIED/);
      assert.deepEqual(await quiet.privateGateway.at(gateway.poweb).collectAll(), [Buffer.from(parcel)]);
    });

    test('has a private gateway that only couriers serve register again, where its newest session key is lost', async () => {
      const refused = await collectCargo(recent, await recent.newCca()).then(
        () => undefined,
        (error: Error) => error,
      );
      assert.match(`${refused}`, /UNAUTHENTICATED/);
      // The log says why, a moment later.
      while (!lines.some(({ code }) => code === 'SESSION_KEY_UNKNOWN')) {
        await delay(PAUSE);
      }
      const anew = await OfficialChannel.register(gateway.poweb);
      assert.deepEqual(await collectCargo(anew, await anew.newCca()), []);
    });
  });
}
