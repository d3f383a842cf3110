/** The suite of a new identity key, on embedded stores in one process, and on cloud backends with each service a process. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { suite } from 'node:test';
import { needsCloud, startCloud } from '../support/cloud.ts';
import { startFleet } from '../support/fleet.ts';
import { startGateway, temporaryDirectory } from '../support/gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';
import { keyRotation } from './suites/key-rotation.ts';

const HOUR = 3_600_000;

suite('With all in one process', () => {
  keyRotation(async ({ onLine }, meet) => {
    const gateway = await startGateway({ log: { write: (line) => onLine?.(JSON.parse(line)) } });
    const run = (parameters: readonly string[]) => runRelayGateway(parameters, { DATA_DIR: gateway.directory });
    await meet(gateway.poweb);
    await rotate(run);
    return { ...gateway, run };
  });
});

suite('With each service a process, on cloud backends', needsCloud(), () => {
  keyRotation(async ({ onLine }, meet) => {
    await using stack = new AsyncDisposableStack();
    const cloud = stack.use(await startCloud());
    {
      // An hour ago: where records are shared, a new key only verifies for some minutes.
      const clock = { now: () => Date.now() - HOUR };
      await using past = await startGateway({ environment: cloud.environment, clock });
      await meet(past.poweb);
      await rotate((parameters) => runRelayGateway(parameters, { ...cloud.environment, DATA_DIR: past.directory }));
    }
    const fleet = stack.use(await startFleet({ cloud }));
    stack.use(fleet.listen((line) => onLine?.(line)));
    const directory = temporaryDirectory();
    stack.defer(() => rmSync(directory, { recursive: true, force: true }));
    const resources = stack.move();
    return {
      ...fleet.addresses,
      run: (parameters) => runRelayGateway(parameters, { ...cloud.environment, DATA_DIR: directory }),
      [Symbol.asyncDispose]: () => resources.disposeAsync(),
    };
  });
});

async function rotate(run: (parameters: readonly string[]) => ReturnType<typeof runRelayGateway>): Promise<void> {
  const { code, stdout, stderr } = await run(['rotate-key', '--json']);
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout).isRotated, true);
}
