/** A new identity key while all processes of a gateway run: it only verifies at first, and issues when all know it. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { suite } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { keyRotation } from '../interop/suites/key-rotation.ts';
import { needsCloud } from '../support/cloud.ts';
import { startFleet } from '../support/fleet.ts';
import { temporaryDirectory } from '../support/gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

/** How often it is looked whether the new key issues, in milliseconds; it does after a minute and two seconds. */
const POLL = 500;

suite('While each service runs in a process of its own, on cloud backends', needsCloud(), () => {
  keyRotation(async ({ onLine }, meet) => {
    await using stack = new AsyncDisposableStack();
    const fleet = stack.use(await startFleet({ environment: { HOUSEKEEPING_PERIOD: '1s' } }));
    stack.use(fleet.listen((line) => onLine?.(line)));
    const directory = temporaryDirectory();
    stack.defer(() => rmSync(directory, { recursive: true, force: true }));
    const run = (parameters: readonly string[]) =>
      runRelayGateway(parameters, { ...fleet.environment, DATA_DIR: directory });
    const params = async () =>
      Buffer.from(await (await fetch(`${fleet.addresses.poweb}/connection-params.der`)).arrayBuffer());

    await meet(fleet.addresses.poweb);
    const before = await params();
    const { code, stdout, stderr } = await run(['rotate-key', '--json']);
    assert.equal(code, 0, stderr);
    const [old, next] = JSON.parse(stdout).keys;
    assert.deepEqual([old.state, next.state], ['issues', 'waits']);
    assert.deepEqual(await params(), before);
    while ((await params()).equals(before)) {
      await pause(POLL);
    }
    assert.ok(Date.now() >= Date.parse(next.issuesFrom));
    const resources = stack.move();
    return { ...fleet.addresses, run, [Symbol.asyncDispose]: () => resources.disposeAsync() };
  });
});
