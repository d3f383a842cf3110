/** What systemd is told, by its own `systemd-notify`, at a real datagram socket. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { findServiceManager } from '../../src/cli/service-manager.ts';
import { spawnGateway } from '../support/gateway.ts';
import { logLines } from '../support/log-lines.ts';
import { needsTool } from '../support/needs-tool.ts';
import { openNotifySocket } from '../support/notify-socket.ts';

const NEEDS = needsTool('systemd-notify', 'apt-get install systemd');

/** Microseconds: the gateway tells that it lives each third of it. */
const SHORT = '300000';

suite('systemd is told', NEEDS, () => {
  test('that the gateway is ready, alive, and stopping', async () => {
    using socket = await openNotifySocket();
    const alive = socket.next(/^WATCHDOG=1$/);
    const stopping = socket.next(/^STOPPING=1$/);
    await using gateway = await spawnGateway({ environment: { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: SHORT } });

    await alive;
    await socket.next(/^WATCHDOG=1$/);
    assert.deepEqual(socket.states.filter((state) => !state.includes('BARRIER')).slice(0, 2), [
      'READY=1',
      `STATUS=Serves ${gateway.internetAddress} as node ${gateway.nodeId}`,
    ]);
    const exit = await gateway.end('SIGTERM');
    await stopping;

    assert.equal(exit.code, 0);
  });

  test('nothing more while the stores are silent, or do not work', async (t) => {
    using socket = await openNotifySocket();
    const { manager, lines } = managerFor(t, { NOTIFY_SOCKET: socket.path, WATCHDOG_USEC: SHORT });
    const { promise: silence, resolve: speak } = Promise.withResolvers<void>();
    const checks = [() => Promise.resolve(), () => silence, () => Promise.reject(new Error('no disk'))];
    let checked = 0;
    const tried = Promise.withResolvers<void>();
    using _ = manager.watch(async () => {
      const check = checks[checked++];
      if (!check) {
        tried.resolve();
        return new Promise(() => {});
      }
      await check();
    });
    const warned = async (message: RegExp) => {
      while (!lines.some(({ msg }) => message.test(`${msg}`))) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };

    await warned(/^The stores are silent/);
    manager.tell('STATUS=silent');
    await socket.next(/^STATUS=silent$/);
    // A word for the first check; none for the one that is under way.
    assert.equal(count(socket.states, 'WATCHDOG=1'), 1);
    speak();
    await warned(/^The stores do not work/);
    await tried.promise;
    manager.tell('STATUS=failed');
    await socket.next(/^STATUS=failed$/);
    assert.equal(count(socket.states, 'WATCHDOG=1'), 2);
  });

  test('nothing of its life where another process is the one that is watched, or none is', async (t) => {
    using socket = await openNotifySocket();
    for (const environment of [{ WATCHDOG_USEC: '1000', WATCHDOG_PID: '1' }, {}, { WATCHDOG_USEC: 'soon' }]) {
      const { manager } = managerFor(t, { NOTIFY_SOCKET: socket.path, ...environment });
      using _ = manager.watch(() => assert.fail('nobody watches'));
      const told = socket.next(/^READY=1$/);
      manager.tell('READY=1');
      await told;
    }
    assert.equal(count(socket.states, 'WATCHDOG=1'), 0);
  });

  test('on one line, whatever is in a word', async (t) => {
    using socket = await openNotifySocket();
    const { manager } = managerFor(t, { NOTIFY_SOCKET: socket.path });
    const told = socket.next(/^STATUS=/);
    manager.tell("STATUS=a\nREADY=1 $(reboot) 'b' \\n");
    assert.equal(await told, "STATUS=a READY=1 $(reboot) 'b' \\n");
  });
});

suite('Without systemd', () => {
  test('nobody is told anything, and nothing fails', (t) => {
    const { manager, lines } = managerFor(t, { WATCHDOG_USEC: SHORT });
    manager.tell('READY=1');
    using _ = manager.watch(() => assert.fail('nobody watches'));
    assert.deepEqual(lines, []);
  });
});

function managerFor(t: TestContext, environment: Record<string, string>) {
  const { log, lines } = logLines();
  const manager = findServiceManager({ PATH: process.env['PATH'], ...environment }, log);
  t.after(() => manager[Symbol.dispose]());
  return { manager, lines };
}

function count(states: readonly string[], wanted: string): number {
  return states.filter((state) => state === wanted).length;
}
