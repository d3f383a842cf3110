/** One pod on a volume of its own, installed for real: what its operator does to it while private gateways are at work. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { CHART, openRoom, type Room } from './support/cluster.ts';
import { openLoopbackPort } from './support/loopback-port.ts';
import { assertReadyWithinASecond, startOf } from './support/starts.ts';
import { Traffic } from './support/traffic.ts';

const RELEASE = 'gateway';
const NAME = 'gateway-relay-gateway';
const POD = `${NAME}-0`;

/** How long one pod may be unreachable while it is replaced, in milliseconds: what docs/operate.md promises, and more for a busy machine. */
const MAX_SILENCE = 60_000;

function valuesOf(room: Room, settings: object = {}, image: object = {}): object {
  return {
    ...room.values,
    image: { ...(room.values['image'] as object), ...image },
    gateway: { settings: { INTERNET_ADDRESS: 'gateway.example.org', ...settings } },
  };
}

/** Installs or upgrades, and waits until it serves. */
async function deploy(room: Room, values: object): Promise<void> {
  const { code, stderr } = await room.helm(
    ['upgrade', '--install', RELEASE, CHART, '--wait', '--timeout', '8m'],
    values,
  );
  assert.equal(code, 0, stderr);
}

const nodeIdOf = async (room: Room) =>
  (JSON.parse(await room.kubectl('exec', POD, '--', 'relay-gateway', 'identity', '--json')) as { nodeId: string })
    .nodeId;

const podUid = (room: Room) => room.kubectl('get', 'pod', POD, '--output=jsonpath={.metadata.uid}');

/** Resolves when another pod than this one is there and ready. */
async function replaced(room: Room, uid: string): Promise<void> {
  while ((await podUid(room).catch(() => uid)) === uid) {
    // What asks is a program of its own: that is pause enough.
  }
  await room.kubectl('wait', `pod/${POD}`, '--for=condition=Ready', '--timeout=300s');
}

/** Does something to the gateway, sees that parcels come through again, and tells for how long they did not. */
async function underTraffic(
  context: TestContext,
  traffic: Traffic,
  what: string,
  act: () => Promise<void>,
): Promise<void> {
  await traffic.flows();
  traffic.look();
  await act();
  await traffic.flows();
  const { longestSilence, failures, closings } = traffic.look();
  context.diagnostic(
    `${what}: unreachable for ${longestSilence} ms, ${failures.length} deliveries tried again, ${closings.length} collections began anew`,
  );
  assert.ok(longestSilence < MAX_SILENCE, `unreachable for ${longestSilence} ms`);
}

suite('One pod', () => {
  test('is installed, upgraded, rolled back, evicted, killed and brought back, and loses no acknowledged parcel', async (context) => {
    await using room = await openRoom('single');
    await room.provideVolume(`data-${POD}`);

    const begun = performance.now();
    await deploy(room, valuesOf(room));
    context.diagnostic(`installed in ${Math.round(performance.now() - begun)} ms`);
    const starts = [await startOf(room, POD)];
    const nodeId = await nodeIdOf(room);

    await context.test('runs as the chart says', async () => {
      const script = `
        const status = fs.readFileSync('/proc/self/status', 'utf8');
        const value = (name) => status.match(new RegExp(name + ':\\\\s*(\\\\S+)'))[1];
        let writable = true;
        try { fs.writeFileSync('/app/x', ''); } catch (error) { writable = error.code; }
        console.log(JSON.stringify({ user: process.getuid(), capabilities: value('CapBnd'), gains: value('NoNewPrivs'),
          filter: value('Seccomp'), writable, token: fs.existsSync('/var/run/secrets/kubernetes.io') }));`;
      assert.deepEqual(JSON.parse(await room.kubectl('exec', POD, '--', 'node', '--eval', script)), {
        user: 65_532,
        capabilities: '0000000000000000',
        gains: '1',
        filter: '2',
        writable: 'EROFS',
        token: false,
      });
    });

    await context.test('is well, says the doctor', async () => {
      const { code, stdout, stderr } = await room.examine();
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /The gateway is well/);
    });

    await using port = await openLoopbackPort(await room.nodePort(`${NAME}-poweb`));
    await using traffic = await Traffic.start(port.url);

    await underTraffic(context, traffic, 'upgrade', () => deploy(room, valuesOf(room, { LOG_LEVEL: 'debug' })));
    await underTraffic(context, traffic, 'rollback', async () => {
      const { code, stderr } = await room.helm(['rollback', RELEASE, '1', '--wait', '--timeout', '8m']);
      assert.equal(code, 0, stderr);
    });
    await underTraffic(context, traffic, 'eviction', async () => {
      const uid = await podUid(room);
      await room.evict(POD);
      await replaced(room, uid);
      starts.push(await startOf(room, POD));
    });
    await underTraffic(context, traffic, 'kill', async () => {
      const uid = await podUid(room);
      await room.kubectl('delete', 'pod', POD, '--grace-period=0', '--force');
      await replaced(room, uid);
      starts.push(await startOf(room, POD));
    });
    await underTraffic(context, traffic, 'upgrade to an image that there is not, and rollback', async () => {
      const broken = valuesOf(room, {}, { tag: 'broken', pullPolicy: 'Never' });
      const { code } = await room.helm(['upgrade', RELEASE, CHART, '--wait', '--timeout', '5s'], broken);
      assert.notEqual(code, 0);
      const { code: end, stderr } = await room.helm(['rollback', RELEASE, '--wait', '--timeout', '8m']);
      assert.equal(end, 0, stderr);
    });

    const { acknowledged, lost } = await traffic.stop();
    context.diagnostic(`${acknowledged} parcels were acknowledged`);
    assert.deepEqual(lost, []);
    assertReadyWithinASecond(context, starts);

    await context.test('keeps its identity when it is uninstalled and installed again', async () => {
      const { code, stderr } = await room.helm(['uninstall', RELEASE, '--wait', '--timeout', '5m']);
      assert.equal(code, 0, stderr);
      assert.equal(
        await room.kubectl(
          'get',
          'statefulsets,services,configmaps,serviceaccounts,networkpolicies',
          '--selector',
          `app.kubernetes.io/instance=${RELEASE}`,
        ),
        '',
      );
      await deploy(room, valuesOf(room));
      assert.equal(await nodeIdOf(room), nodeId);
    });
  });
});
