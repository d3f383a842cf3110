/** A Deployment for each service over Redis and a cloud's emulators, installed for real: what its operator does to it under traffic. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { type Cloud, needsCloud, startCloud } from '../support/cloud.ts';
import { isTimeout, withPatience } from './support/busy.ts';
import { CHART, COMPONENTS, openRoom, type Room, SMALL_PODS } from './support/cluster.ts';
import { type HostPorts, openHostPorts } from './support/host-ports.ts';
import { openLoopbackPort } from './support/loopback-port.ts';
import { assertReadyWithinASecond, type Start, startOf } from './support/starts.ts';
import { Traffic } from './support/traffic.ts';

const RELEASE = 'gateway';
const NAME = 'gateway-relay-gateway';

async function valuesOf(room: Room, cloud: Cloud, host: HostPorts): Promise<Record<string, unknown>> {
  const { REDIS_URL = '', ...environment } = cloud.environment;
  const settings: Record<string, string> = { INTERNET_ADDRESS: 'gateway.example.org' };
  for (const [variable, value] of Object.entries(environment)) {
    settings[variable] = await host.translate(value);
  }
  const url = await host.translate(REDIS_URL);
  await room.kubectl('create', 'secret', 'generic', 'redis', `--from-literal=url=${url}`);
  const doors = room.values['components'] as Record<string, object>;
  return {
    ...room.values,
    mode: 'split',
    gateway: { settings, secrets: { REDIS_URL: { name: 'redis', key: 'url' } } },
    pods: SMALL_PODS,
    // The chart's own are longer than the test has patience for.
    components: Object.fromEntries(
      COMPONENTS.map((name) => [
        name,
        { ...doors[name], ...SMALL_PODS, replicas: ['poweb', 'collection'].includes(name) ? 2 : 1 },
      ]),
    ),
    networkPolicy: { extraEgress: [{ to: [{ ipBlock: { cidr: `${host.address}/32` } }] }] },
  };
}

async function deploy(room: Room, values: object): Promise<void> {
  const { code, stderr } = await room.helm(
    ['upgrade', '--install', RELEASE, CHART, '--wait', '--timeout', '8m'],
    values,
  );
  assert.equal(code, 0, stderr);
}

/** Those that are to stay, the oldest first: what ends may be gone at any time. */
async function podsOf(room: Room, component: string): Promise<string[]> {
  const selector = `--selector=app.kubernetes.io/component=${component}`;
  const sorting = '--sort-by=.metadata.creationTimestamp';
  const { items } = JSON.parse(await room.kubectl('get', 'pods', selector, sorting, '--output=json')) as {
    items: { metadata: { name: string; deletionTimestamp?: string } }[];
  };
  return items.filter(({ metadata }) => !metadata.deletionTimestamp).map(({ metadata }) => metadata.name);
}

/** Of the pod of a component that came after these, when it is ready. */
async function startAfter(room: Room, component: string, before: readonly string[]): Promise<Start> {
  for (;;) {
    // What asks is a program of its own: that is pause enough.
    const pod = (await podsOf(room, component)).findLast((name) => !before.includes(name));
    if (pod !== undefined) {
      await room.kubectl('wait', `pod/${pod}`, '--for=condition=Ready', '--timeout=300s');
      return startOf(room, pod);
    }
  }
}

const ready = (room: Room, component: string) =>
  room.kubectl('rollout', 'status', `deployment/${NAME}-${component}`, '--timeout=300s');

/**
 * Does something to the gateway, and sees that nobody noticed more than is documented.
 *
 * @param act told how often it was done before
 */
async function unnoticed(
  context: TestContext,
  traffic: Traffic,
  what: string,
  act: (count: number) => Promise<void>,
): Promise<void> {
  const { failures, closings } = await withPatience(
    async (count) => {
      await traffic.flows();
      traffic.look();
      await act(count);
      await traffic.flows();
      const noticed = traffic.look();
      context.diagnostic(
        `${what}: ${noticed.failures.length} deliveries tried again, ${noticed.closings.length} collections began anew, ` +
          `at most ${noticed.longestSilence} ms between two acknowledged deliveries`,
      );
      return noticed;
    },
    (noticed) => noticed.failures.length > 0 && noticed.failures.every(isTimeout),
  );
  assert.deepEqual(failures, []);
  assert.deepEqual(
    closings.filter((reason) => !reason.includes('4000')),
    [],
  );
}

suite('A gateway split over its services', () => {
  test(
    'is installed, upgraded, rolled back and evicted without anybody noticing, and loses no acknowledged parcel',
    needsCloud(),
    async (context) => {
      await using cloud = await startCloud();
      await using room = await openRoom('split');
      await using host = await openHostPorts(await room.node());
      const values = await valuesOf(room, cloud, host);

      const begun = performance.now();
      await deploy(room, values);
      context.diagnostic(`installed in ${Math.round(performance.now() - begun)} ms`);

      await context.test('is well, says the doctor', async () => {
        const { code, stdout, stderr } = await room.examine();
        assert.equal(code, 0, stdout + stderr);
        assert.match(stdout, /The gateway is well/);
      });

      await using poweb = await openLoopbackPort(await room.nodePort(`${NAME}-poweb`));
      await using collection = await openLoopbackPort(await room.nodePort(`${NAME}-collection`));
      await using traffic = await Traffic.start(poweb.url, collection.url);

      // Of pods that start one after another, unlike those of an installation.
      const starts: Start[] = [];
      const settings = (values['gateway'] as { settings: object }).settings;
      const changed = (count: number) => ({
        ...values,
        gateway: { ...(values['gateway'] as object), settings: { ...settings, CARGO_COUNT: String(5000 + count) } },
      });
      await unnoticed(context, traffic, 'upgrade', (count) => deploy(room, changed(count)));
      await unnoticed(context, traffic, 'rollback', async (count) => {
        if (count > 0) {
          await deploy(room, changed(count));
        }
        const { code, stderr } = await room.helm(['rollback', RELEASE, '1', '--wait', '--timeout', '8m']);
        assert.equal(code, 0, stderr);
      });
      await unnoticed(context, traffic, 'eviction', async () => {
        for (const component of ['poweb', 'collection']) {
          const before = await podsOf(room, component);
          const [pod = ''] = before;
          await room.evict(pod);
          await room.kubectl('wait', `pod/${pod}`, '--for=delete', '--timeout=300s');
          await ready(room, component);
          starts.push(await startAfter(room, component, before));
        }
      });
      await unnoticed(context, traffic, 'upgrade to an image that there is not', async () => {
        const image = { ...(values['image'] as object), tag: 'broken', pullPolicy: 'Never' };
        const { code } = await room.helm(['upgrade', RELEASE, CHART, '--wait', '--timeout', '10s'], {
          ...values,
          image,
        });
        assert.notEqual(code, 0);
        const { code: end, stderr } = await room.helm(['rollback', RELEASE, '--wait', '--timeout', '8m']);
        assert.equal(end, 0, stderr);
      });

      // A killed pod says goodbye to nobody: its connections break, and nothing else happens.
      await traffic.flows();
      traffic.look();
      for (const component of ['poweb', 'collection', 'worker']) {
        const before = await podsOf(room, component);
        const [pod = ''] = before;
        await room.kubectl('delete', 'pod', pod, '--grace-period=0', '--force');
        starts.push(await startAfter(room, component, before));
        await ready(room, component);
      }
      for (const component of ['pohttp', 'cogrpc']) {
        const before = await podsOf(room, component);
        await room.kubectl('rollout', 'restart', `deployment/${NAME}-${component}`);
        starts.push(await startAfter(room, component, before));
        await ready(room, component);
      }
      await traffic.flows();
      const { failures, closings, longestSilence } = traffic.look();
      context.diagnostic(`kill: ${failures.length} tried again, ${closings.length} began anew, ${longestSilence} ms`);

      const { acknowledged, lost } = await traffic.stop();
      context.diagnostic(`${acknowledged} parcels were acknowledged`);
      assert.deepEqual(lost, []);
      assertReadyWithinASecond(context, starts);

      const { code, stderr } = await room.helm(['uninstall', RELEASE, '--wait', '--timeout', '5m']);
      assert.equal(code, 0, stderr);
      assert.equal(
        await room.kubectl(
          'get',
          'deployments,services,configmaps',
          '--selector',
          `app.kubernetes.io/instance=${RELEASE}`,
        ),
        '',
      );
    },
  );
});
