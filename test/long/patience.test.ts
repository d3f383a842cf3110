/** What a process does while what it keeps things in is away: at its start, and later. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type ParcelCollection, StreamingMode } from '@relaycorp/relaynet-core';
import { type Cloud, needsCloud, startCloud } from '../support/cloud.ts';
import { FREE_PORTS, type SpawnedGateway, spawnGateway, temporaryDirectory } from '../support/gateway.ts';
import {
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
  registerOfficially,
} from '../support/official-client.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';
import { type Switch, startSwitch } from '../support/switch.ts';

/** How often a test looks whether something has happened, in milliseconds. */
const POLL = 20;

const NAMES = ['gcs', 'firestore', 'kms', 'redis'] as const;
type Name = (typeof NAMES)[number];

/** What the log says while each is waited for. */
const WAITING: Readonly<Record<Name, string>> = {
  gcs: 'Cloud Storage is away; waiting for it',
  firestore: 'Firestore is away; waiting for it',
  kms: 'Waiting for Cloud KMS',
  redis: 'Waiting for Redis',
};

/** The settings that say where they are. */
const VARIABLES: Readonly<Record<Name, string>> = {
  gcs: 'STORAGE_EMULATOR_HOST',
  firestore: 'FIRESTORE_EMULATOR_HOST',
  kms: 'KMS_ENDPOINT',
  redis: 'REDIS_URL',
};

/** Between two lines that say the same, in milliseconds. */
const TELL_INTERVAL = 15_000;

suite('While what a process keeps things in is away', needsCloud(), () => {
  let cloud: Cloud;

  before(async () => {
    cloud = await startCloud();
  });

  after(() => cloud?.[Symbol.asyncDispose]());

  test('a start waits for each, and says so now and then', async () => {
    await using switches = await startSwitches(cloud, { isOn: false });
    const told = new Map(NAMES.map((name) => [name, Promise.withResolvers<void>()]));
    const lines = new Map<unknown, number>();
    const started = performance.now();
    const starting = spawnGateway({
      environment: switches.environment,
      onLine({ msg }) {
        lines.set(msg, (lines.get(msg) ?? 0) + 1);
        told.get(NAMES.find((name) => WAITING[name] === msg) as Name)?.resolve();
      },
    });
    // KMS is asked when the others are there.
    for (const names of [['gcs', 'firestore', 'redis'], ['kms']] as const) {
      const waits = Promise.all(names.map((name) => told.get(name)?.promise));
      await Promise.race([waits, starting.then(() => assert.fail('it did not wait'))]);
      await switches.turn('on', names);
    }
    await using gateway = await starting;
    assert.equal((await fetch(`${gateway.ops}/ping`)).status, 200);
    const most = 1 + (performance.now() - started) / TELL_INTERVAL;
    for (const name of NAMES) {
      assert.ok((lines.get(WAITING[name]) ?? 0) <= most, `${name}: ${lines.get(WAITING[name])} lines`);
    }
  });

  test('a start ends with code 1 and one line after START_PATIENCE', async () => {
    await using switches = await startSwitches(cloud, { isOn: false });
    const starts = NAMES.map(async (name) => {
      const directory = temporaryDirectory();
      const environment = {
        ...{ ...FREE_PORTS, DATA_DIR: directory, START_PATIENCE: '1s', LOG_LEVEL: 'silent' },
        ...{ ...cloud.environment, [VARIABLES[name]]: switches.environment[VARIABLES[name]] ?? '' },
      };
      const { code, stderr } = await runRelayGateway(['serve'], environment);
      rmSync(directory, { recursive: true });
      assert.equal(code, 1, stderr);
      assert.match(stderr, /^relay-gateway: .*(Cloud Storage|Firestore|KMS|Redis).*\n$/);
    });
    await Promise.all(starts);
  });

  suite('after it has started', () => {
    let gateway: SpawnedGateway;
    let owner: OfficialPrivateGateway;
    let endpoint: OfficialEndpoint;
    let sender: OfficialSender;
    let live: AsyncGenerator<ParcelCollection>;
    let switches: Switches;

    before(async () => {
      switches = await startSwitches(cloud);
      gateway = await spawnGateway({ environment: { ...switches.environment, HOUSEKEEPING_PERIOD: '1s' } });
      owner = await OfficialPrivateGateway.register(gateway.poweb);
      endpoint = await owner.newEndpoint();
      sender = await endpoint.authorize((await owner.newEndpoint()).identity);
      await collect();
    });

    after(async () => {
      await live?.return(undefined).catch(() => undefined);
      await gateway?.[Symbol.asyncDispose]();
      await switches?.[Symbol.asyncDispose]();
    });

    /** Starts a collection that lasts. */
    async function collect(): Promise<void> {
      const { promise: connected, resolve } = Promise.withResolvers<void>();
      live = owner.collect(StreamingMode.KEEP_ALIVE, resolve);
      const next = live.next();
      await Promise.race([connected, next]);
      await deliveredLive(next);
    }

    const deliver = async () => {
      const parcel = await endpoint.writeParcel(sender, randomBytes(500));
      await owner.deliver(parcel);
      return Buffer.from(parcel);
    };

    /** What was answered too late may have been stored, and comes too. */
    async function deliveredLive(first = live.next()): Promise<void> {
      const parcel = await deliver();
      for (let next = first; ; next = live.next()) {
        const { value, done } = await next;
        assert.ok(!done, 'the collection ended');
        await value.ack();
        if (parcel.equals(Buffer.from(value.parcelSerialized))) {
          return;
        }
      }
    }

    async function checks(): Promise<Map<string, boolean>> {
      const results = (await (await fetch(`${gateway.ops}/ping`)).json()) as { name: string; ok: boolean }[];
      return new Map(results.map(({ name, ok }) => [name, ok]));
    }

    /** Resolves when the checks of stores and Redis say so. KMS, which each check must pay, is asked once a minute. */
    async function arePresent(areThere: boolean): Promise<void> {
      for (;;) {
        const found = await checks();
        if (['gcs', 'firestore', 'redis'].every((name) => found.get(name) === areThere)) {
          return;
        }
        await pause(POLL);
      }
    }

    for (const how of ['off', 'hush'] as const) {
      const says = how === 'off' ? 'everything goes away' : 'everything stops to answer';
      test(`the process lives on when ${says}, and goes on when it is back`, async () => {
        const failures = () => gateway.log.filter(({ msg }) => msg === 'Housekeeping failed').length;
        await switches.turn(how);
        try {
          await arePresent(false);
          await assert.rejects(deliver(), 'nothing was stored');
          await assert.rejects(registerOfficially(owner.client, owner.identity));
          const before = failures();
          while (failures() < before + 2) {
            await pause(POLL);
          }
        } finally {
          await switches.turn('on');
        }
        await arePresent(true);
        // What is not known to be whole is ended, and the client comes back.
        await live.return(undefined).catch(() => undefined);
        await collect();
        assert.equal(gateway.process.exitCode, null);
        assert.equal(gateway.process.signalCode, null);
        assert.ok(!gateway.log.some(({ msg }) => msg === 'Uncaught error'));
      });
    }

    test('the process lives on when Redis itself is killed and started anew', async () => {
      await cloud.redis.kill();
      await deliveredLive();
      await cloud.redis.start();
      while (!(await checks()).get('redis')) {
        await pause(POLL);
      }
      await deliveredLive();
      assert.equal(gateway.process.exitCode, null);
    });
  });
});

function portOf(url: string): number {
  return Number(new URL(url).port);
}

interface Switches extends AsyncDisposable {
  /** Settings of a gateway behind the switches. */
  readonly environment: Readonly<Record<string, string>>;
  turn(how: 'on' | 'off' | 'hush', names?: readonly Name[]): Promise<void>;
}

/** Puts a switch before each service. */
async function startSwitches(
  { environment, ...cloud }: Cloud,
  { isOn = true }: { isOn?: boolean } = {},
): Promise<Switches> {
  const ports: Record<Name, number> = {
    gcs: portOf(cloud.gcs.url),
    firestore: portOf(`http://${cloud.firestore.host}`),
    kms: portOf(cloud.kms.endpoint),
    redis: cloud.redis.port,
  };
  const starting = NAMES.map(async (name) => [name, await startSwitch(ports[name], { isOn })] as const);
  const switches = new Map<Name, Switch>(await Promise.all(starting));
  const at = (name: Name) => `127.0.0.1:${switches.get(name)?.port}`;
  return {
    environment: {
      ...environment,
      [VARIABLES.gcs]: `http://${at('gcs')}`,
      [VARIABLES.firestore]: at('firestore'),
      [VARIABLES.kms]: `http://${at('kms')}`,
      [VARIABLES.redis]: `redis://${at('redis')}`,
    },
    async turn(how, names = NAMES) {
      await Promise.all(names.map((name) => switches.get(name)?.[how]()));
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...switches.values()].map((each) => each[Symbol.asyncDispose]()));
    },
  };
}
