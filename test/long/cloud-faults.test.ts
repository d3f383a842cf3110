/**
 * Faults under load, of a gateway that is many processes: nothing that was acknowledged is lost, nothing is refused for
 * longer than the fault and five seconds, and parcels come live again within five seconds.
 */
import assert from 'node:assert/strict';
import { after, before, suite, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { LEASE } from '../../src/workers/held-items.ts';
import type { Operation } from '../emulators/gcs/faults.ts';
import { type Cloud, needsCloud, startCloud } from '../support/cloud.ts';
import { EMBEDDED, type Internet } from '../support/deployment.ts';
import { type Fleet, startFleet } from '../support/fleet.ts';
import { type PoHttpReceiver, startPoHttpReceiver } from '../support/pohttp-receiver.ts';
import { type Switch, startSwitch } from '../support/switch.ts';
import { type Report, Traffic } from '../support/traffic.ts';
import { startTurnedRoundCollection } from '../support/turned-round-collection.ts';

const ADDRESS = 'endpoint.example';
const HOST = 'pohttp.endpoint.example';

const PAIRS = 3;

/** How long traffic runs before a fault and after its end, and what must be well again by then; in milliseconds. */
const CALM = 3000;
const SOON = 5000;
/** A machine on which a parcel takes so long in quiet may keep clients waiting for longer than they do; milliseconds. */
const BUSY = 1000;
/** How long a fault lasts, and how long what it held up may take to come: work that failed is tried later and later. */
const FAULT = 30_000;
const SHORT_FAULT = 10_000;
const PATIENCE = 90_000;

const ALL: readonly Operation[] = ['objects.insert', 'objects.get', 'objects.media', 'objects.list', 'objects.delete'];

suite('A gateway that is many processes', needsCloud(), () => {
  let cloud: Cloud;
  let firestore: Switch;
  let internet: Internet;
  let receiver: PoHttpReceiver;
  let fleet: Fleet;
  let traffic: Traffic;
  /** What comes to the Internet node then is neither taken nor answered. */
  let isNodeSilent = false;

  before(async () => {
    cloud = await startCloud();
    firestore = await startSwitch(Number(new URL(`http://${cloud.firestore.host}`).port));
    internet = await EMBEDDED.internet(HOST);
    receiver = await startPoHttpReceiver(internet.tls, ({ body }) => {
      if (isNodeSilent) {
        return undefined;
      }
      traffic.arrived(body);
      return { status: 202 };
    });
    internet.resolver.setServices(ADDRESS, [{ target: HOST, port: receiver.port }]);
    internet.resolver.setAddresses(HOST, ['127.0.0.1']);
    fleet = await startFleet({
      cloud: {
        ...cloud,
        environment: { ...cloud.environment, FIRESTORE_EMULATOR_HOST: `127.0.0.1:${firestore.port}` },
      },
      environment: {
        RESOLVER_URL: internet.resolver.url,
        ALLOW_PRIVATE_DESTINATIONS: 'true',
        NODE_EXTRA_CA_CERTS: internet.tls.certificateFile,
        HOUSEKEEPING_PERIOD: '2s',
      },
    });
    const addresses = () => fleet.addresses;
    traffic = await Traffic.start({ addresses, pairs: PAIRS, internetAddress: ADDRESS, hasCouriers: true });
  });

  after(async () => {
    await traffic?.[Symbol.asyncDispose]();
    await fleet?.[Symbol.asyncDispose]();
    await receiver?.[Symbol.asyncDispose]();
    await internet?.[Symbol.asyncDispose]();
    await firestore?.[Symbol.asyncDispose]();
    await cloud?.[Symbol.asyncDispose]();
  });

  interface FaultToTry {
    inflict(): unknown;
    mend(): unknown;
    /** Milliseconds. */
    readonly duration: number;
    /** How long what the fault held up may take to come, in milliseconds. */
    readonly patience?: number;
  }

  async function endure(t: TestContext, { inflict, mend, duration, patience = PATIENCE }: FaultToTry): Promise<void> {
    traffic.begin();
    await pause(CALM);
    // A machine that is busy with other things is slow in quiet, too.
    const usual = traffic.worstLatency();
    await inflict();
    try {
      await pause(duration);
    } finally {
      await mend();
    }
    const mended = performance.now();
    const live = (await traffic.liveAfter(mended)) - mended;
    await pause(Math.max(0, SOON - (performance.now() - mended)) + CALM);
    const found = await traffic.settle(patience);
    const { poweb, internet: toInternet, cargo } = found.missing;
    const lost = poweb + toInternet + cargo;
    const refused = (found.lastRefusal ?? mended) - mended;
    const silent = (found.lastSilence ?? mended) - mended;
    t.diagnostic(
      `${describe(found)}, lost ${lost}; after the fault: last refused ${seconds(refused)}, last not answered ` +
        `${seconds(silent)}, live ${seconds(live)}; before it a parcel took up to ${seconds(usual)}`,
    );
    const soon = SOON + 2 * usual;
    assert.equal(lost, 0);
    assert.ok(refused <= soon, `something was refused ${refused} ms after the fault`);
    assert.ok(live <= soon, `live after ${live} ms`);
    assert.ok(silent <= soon || usual > BUSY, `something was not answered ${silent} ms after the fault`);
  }

  /** Resolves when the worker has a delivery under way that does not end. */
  async function workInHand(): Promise<void> {
    isNodeSilent = true;
    await receiver.next();
  }

  test('loses nothing in quiet', (t) => endure(t, { inflict() {}, mend() {}, duration: 1000 }));

  test('endures that Redis is killed and starts anew, empty', (t) =>
    endure(t, { inflict: () => cloud.redis.kill(), mend: () => cloud.redis.start(), duration: SHORT_FAULT }));

  test('endures that Redis is emptied', (t) =>
    endure(t, { inflict: () => cloud.redis.ask('FLUSHALL'), mend: () => cloud.redis.ask('FLUSHALL'), duration: 2000 }));

  for (const [answer, fault] of [
    ['answers 503', { kind: 'status', status: 503, reason: 'backendError' }],
    ['answers nothing', { kind: 'silence' }],
  ] as const) {
    test(`endures that Cloud Storage ${answer}`, (t) =>
      endure(t, {
        inflict: () => cloud.gcs.faults.always(ALL, fault),
        mend: () => cloud.gcs.faults.clear(),
        duration: FAULT,
      }));
  }

  for (const [answer, how] of [
    ['refuses connections', 'off'],
    ['answers nothing', 'hush'],
  ] as const) {
    test(`endures that Firestore ${answer}`, (t) =>
      endure(t, { inflict: () => firestore[how](), mend: () => firestore.on(), duration: FAULT }));
  }

  test('endures that Cloud KMS is out of quota', (t) =>
    endure(t, {
      inflict: () => cloud.kms.failAlways('AsymmetricSign', { code: status.RESOURCE_EXHAUSTED }),
      mend: () => cloud.kms.recover(),
      duration: SHORT_FAULT,
    }));

  test('endures that Cloud KMS is slow', (t) => {
    const over = Promise.withResolvers<void>();
    return endure(t, {
      inflict: () => cloud.kms.failAlways('AsymmetricSign', { until: over.promise }),
      mend() {
        cloud.kms.recover();
        over.resolve();
      },
      duration: SHORT_FAULT,
    });
  });

  for (const service of ['worker', 'collection']) {
    test(`endures that a process of ${service} is killed, and another takes its place`, (t) =>
      endure(t, {
        async inflict() {
          if (service === 'worker') {
            await workInHand();
          }
          await fleet.process(service).end('SIGKILL');
          isNodeSilent = false;
        },
        mend: () => fleet.replace(service, 'SIGKILL'),
        duration: 2000,
        // A dead worker's work is taken by another when its lease has run out.
        patience: 2 * LEASE,
      }));

    test(`endures that a process of ${service} stands still for a while`, (t) =>
      endure(t, {
        inflict: () => fleet.process(service).process.kill('SIGSTOP'),
        mend: () => fleet.process(service).process.kill('SIGCONT'),
        duration: SHORT_FAULT,
      }));
  }

  test('is found to lose parcels where collections list first and subscribe then', async (t) => {
    await using turned = await startTurnedRoundCollection(fleet.environment);
    fleet.collectAt(turned.url);
    try {
      await using own = await Traffic.start({ addresses: () => fleet.addresses, pairs: 1 });
      own.begin();
      await pause(CALM);
      const found = await own.settle(SOON);
      t.diagnostic(`${describe(found)}, lost ${found.missing.poweb}`);
      assert.ok(found.missing.poweb > 0, 'the checker found nothing');
      assert.ok(found.delivered > 0, 'what came later was delivered');
    } finally {
      fleet.collectAt(undefined);
    }
  });
});

function describe({ sent, acknowledged, delivered, duplicated }: Report): string {
  return `sent ${sent}, acknowledged ${acknowledged}, delivered ${delivered}, duplicated ${duplicated}`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}
