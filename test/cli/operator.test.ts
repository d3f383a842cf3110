/** What operators do with a gateway, while it runs and while it does not. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { suite, type TestContext, test } from 'node:test';
import { StreamingMode } from '@relaycorp/relaynet-core';
import type { DestinationList, WaitingParcels } from '../../src/services/control/queue-orders.ts';
import type { TraceReport } from '../../src/services/control/trace-report.ts';
import { type InProcessGateway, startGateway, temporaryDirectory } from '../support/gateway.ts';
import {
  newOfficialIdentity,
  OfficialPrivateGateway,
  officialClient,
  registerOfficially,
} from '../support/official-client.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

/** Nothing listens there: parcels for the Internet wait. */
const NO_INTERNET = { RESOLVER_URL: 'http://127.0.0.1:1/', ALLOW_PRIVATE_DESTINATIONS: 'true' };

const DESTINATION = 'ping.example.com';
const PAYLOAD = Buffer.from('a payload that nobody may see');

interface Fixture {
  readonly directory: string;
  readonly lines: Record<string, unknown>[];
  start(): Promise<InProcessGateway>;
  /** Runs a command on the directory and reads its JSON. */
  ask<Answer>(...parameters: string[]): Promise<Answer>;
}

function fixture(context: TestContext, environment: Record<string, string> = {}): Fixture {
  const directory = temporaryDirectory();
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  const lines: Record<string, unknown>[] = [];
  const log = { write: (json: string) => void lines.push(JSON.parse(json)) };
  return {
    directory,
    lines,
    start: () => startGateway({ directory, log, environment: { ...NO_INTERNET, ...environment } }),
    async ask(...parameters) {
      const { code, stdout, stderr } = await runRelayGateway([...parameters, '--json'], {
        DATA_DIR: directory,
        ...environment,
      });
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout);
    },
  };
}

/** Delivers a parcel from an endpoint to itself, or to the Internet. */
async function deliver(peer: OfficialPrivateGateway, id: string, internetAddress?: string): Promise<void> {
  const endpoint = await peer.newEndpoint();
  const sender = await endpoint.authorize(await newOfficialIdentity());
  const options = { id, ...(internetAddress !== undefined && { internetAddress }) };
  await peer.deliver(await endpoint.writeParcel(sender, PAYLOAD, options));
}

/** Resolves when `gateway` has tried and failed to reach the destination. */
async function postponed(lines: readonly Record<string, unknown>[], parcel: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!lines.some((line) => line['parcel'] === parcel && line['code'] === 'RESOLVER_AWAY')) {
    assert.ok(performance.now() < deadline, JSON.stringify(lines.slice(-5)));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

suite('An operator', () => {
  test('traces a parcel from its arrival to its acknowledgement, while the gateway runs and afterwards', async (context) => {
    const { start, ask, directory } = fixture(context);
    const events = async (id: string) => {
      const { parcels } = await ask<TraceReport>('trace', id);
      assert.equal(parcels.length, 1);
      return parcels[0]?.hops.map(({ event, door, place }) => [event, door, place]);
    };
    {
      await using gateway = await start();
      const peer = await OfficialPrivateGateway.register(gateway.poweb);
      await deliver(peer, 'traced');
      assert.deepEqual(await events('traced'), [['accepted', 'poweb', 'mailbox']]);
      const [waiting] = (await ask<TraceReport>('trace', 'traced')).parcels;
      assert.deepEqual(
        waiting?.waits?.map(({ place }) => place),
        ['mailbox'],
      );
      assert.equal((await peer.collectAll()).length, 1);
    }
    assert.deepEqual(await events('traced'), [
      ['accepted', 'poweb', 'mailbox'],
      ['sent', 'poweb', undefined],
      ['acknowledged', 'poweb', undefined],
    ]);
    const { stdout } = await runRelayGateway(['trace', 'traced'], { DATA_DIR: directory });
    assert.match(stdout, /accepted +by poweb, in mailbox[\s\S]*acknowledged[\s\S]*It waits nowhere/);
    assert.ok(!stdout.includes(PAYLOAD.toString()));
    const unknown = await runRelayGateway(['trace', 'unheard-of'], { DATA_DIR: directory });
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /Nothing is known of unheard-of/);
  });

  test('sees why a parcel was refused, by its code', async (context) => {
    const { start, ask } = fixture(context);
    await using gateway = await start();
    const peer = await OfficialPrivateGateway.register(gateway.poweb);
    const stranger = await OfficialPrivateGateway.register(gateway.poweb);
    const endpoint = await peer.newEndpoint();
    // Authorized by another endpoint than the recipient.
    const foreign = await (await stranger.newEndpoint()).authorize(await newOfficialIdentity());
    await assert.rejects(peer.deliver(await endpoint.writeParcel(foreign, PAYLOAD, { id: 'refused' })));
    const [parcel] = (await ask<TraceReport>('trace', 'refused')).parcels;
    const [hop, ...others] = parcel?.hops ?? [];
    assert.equal(others.length, 0);
    assert.equal(hop?.event, 'refused');
    assert.match(hop?.code ?? '', /^[A-Z_]+$/);
    assert.equal(
      hop?.peer,
      (await ask<{ peers: { id: string }[] }>('peers', 'list')).peers.find(({ id }) => id === peer.identity.id)?.id,
    );
  });

  test('sees which destinations parcels wait for and why, retries and drops, each change logged', async (context) => {
    const { start, ask, lines } = fixture(context);
    await using gateway = await start();
    const peer = await OfficialPrivateGateway.register(gateway.poweb);
    await deliver(peer, 'outbound-1', DESTINATION);
    await deliver(peer, 'outbound-2', DESTINATION.toUpperCase());
    await postponed(lines, 'outbound-1');

    const { destinations } = await ask<DestinationList>('queue', 'list');
    assert.deepEqual(
      destinations.map(({ destination, parcels }) => [destination, parcels]),
      [[DESTINATION, 2]],
    );
    const shown = await ask<WaitingParcels>('queue', 'show', DESTINATION);
    assert.deepEqual(shown.parcels.map(({ parcel }) => parcel).sort(), ['outbound-1', 'outbound-2']);
    const [traced] = (await ask<TraceReport>('trace', 'outbound-1')).parcels;
    const failure = traced?.hops.find(({ event }) => event === 'postponed');
    assert.equal(failure?.code, 'RESOLVER_AWAY');
    assert.ok(Date.parse(failure?.next ?? '') > Date.parse(failure?.time ?? ''));
    assert.equal(traced?.waits?.[0]?.place, 'outbox');
    assert.ok(traced?.waits?.[0]?.next);

    assert.deepEqual(await ask('queue', 'retry', DESTINATION), { destination: DESTINATION, parcels: 2 });
    assert.deepEqual(await ask('queue', 'drop', DESTINATION, '--parcel', 'outbound-2'), {
      destination: DESTINATION,
      parcels: 1,
    });
    assert.equal((await ask<TraceReport>('trace', 'outbound-2')).parcels[0]?.hops.at(-1)?.event, 'dropped');
    assert.deepEqual(await ask('queue', 'drop', DESTINATION, '--all'), { destination: DESTINATION, parcels: 1 });
    assert.deepEqual((await ask<DestinationList>('queue', 'list')).destinations, []);
    const changes = lines.filter(({ msg }) => `${msg}`.includes('by order of the operator'));
    assert.deepEqual(
      changes.map(({ parcel, destination }) => [parcel, destination]),
      [
        [undefined, DESTINATION],
        ['outbound-2', DESTINATION],
        ['outbound-1', DESTINATION],
      ],
    );
  });

  test('must say which parcels to drop', async (context) => {
    const { directory } = fixture(context);
    for (const choice of [[], ['--all', '--parcel', 'x']]) {
      const { code, stderr } = await runRelayGateway(['queue', 'drop', DESTINATION, ...choice], {
        DATA_DIR: directory,
      });
      assert.equal(code, 2);
      assert.match(stderr, /either --parcel or --all/);
    }
  });

  test('blocks a private gateway while it collects, and lets it in again', async (context) => {
    const { start, ask, lines } = fixture(context);
    await using gateway = await start();
    const peer = await OfficialPrivateGateway.register(gateway.poweb);
    const { id } = peer.identity;
    const { promise: connected, resolve } = Promise.withResolvers<void>();
    const collecting = Array.fromAsync(peer.collect(StreamingMode.KEEP_ALIVE, resolve));
    collecting.catch(() => undefined);
    await connected;
    await ask('peers', 'block', id);
    // It would last for days.
    await assert.rejects(collecting);
    await assert.rejects(deliver(peer, 'blocked'), /403/);
    await assert.rejects(registerOfficially(peer.client, peer.identity), /403/);
    await assert.rejects(peer.collectAll());
    const codes = lines.filter(({ code }) => code === 'PEER_BLOCKED').map(({ msg }) => msg);
    assert.deepEqual(codes, ['Refused', 'Refused', 'Handshake refused']);
    assert.ok(
      lines.some(({ msg, change, peer: who }) => `${msg}`.includes('operator') && change === 'block' && who === id),
    );

    await ask('peers', 'unblock', id);
    await deliver(peer, 'welcome');
    assert.equal((await peer.collectAll()).length, 1);
  });

  test('allows private gateways to register before the gateway runs', async (context) => {
    const { start, ask } = fixture(context, { REGISTRATION_POLICY: 'allowlist' });
    const [welcome, stranger] = [await newOfficialIdentity(), await newOfficialIdentity()];
    await ask('peers', 'allow', welcome.id);
    await using gateway = await start();
    const client = officialClient(gateway.poweb);
    await registerOfficially(client, welcome);
    await assert.rejects(registerOfficially(client, stranger), /403/);
  });

  test('verifies and compacts the stores, while the gateway runs and while it does not', async (context) => {
    const { start, ask, directory } = fixture(context);
    {
      await using gateway = await start();
      await deliver(await OfficialPrivateGateway.register(gateway.poweb), 'kept');
      assert.equal((await ask<{ objects: number }>('store', 'verify')).objects, 1);
      assert.equal((await ask<{ orphanedBodies: number }>('store', 'compact')).orphanedBodies, 0);
    }
    assert.equal((await ask<{ damaged: number }>('store', 'verify')).damaged, 0);
    const { code, stdout } = await runRelayGateway(['store', 'verify'], { DATA_DIR: directory });
    assert.equal(code, 0);
    assert.match(stdout, /Objects +1, \d+ octets/);
  });
});
