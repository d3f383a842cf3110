/** `relay-gateway debug`, on a gateway that runs as operators run it. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type SpawnedGateway, spawnGateway, temporaryDirectory } from '../support/gateway.ts';
import { newOfficialIdentity, OfficialPrivateGateway } from '../support/official-client.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

const PAYLOAD = Buffer.from('a payload that nobody may see in any log');

suite('The debug command', () => {
  let gateway: SpawnedGateway;
  let folder: string;
  const debug = (...parameters: string[]) => runRelayGateway(['debug', ...parameters], { DATA_DIR: gateway.directory });

  before(async () => {
    gateway = await spawnGateway();
    folder = temporaryDirectory();
  });

  after(async () => {
    await gateway?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  test('has a gateway tell everything but payloads for a while, and is silent again afterwards', async () => {
    const { code, stdout, stderr } = await debug('--for', '30m');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Debug mode until 20/);
    const peer = await OfficialPrivateGateway.register(gateway.poweb);
    const endpoint = await peer.newEndpoint();
    const sender = await endpoint.authorize(await newOfficialIdentity());
    await peer.deliver(await endpoint.writeParcel(sender, PAYLOAD));
    assert.equal((await peer.collectAll()).length, 1);
    assert.match((await debug('--stop')).stdout, /Debug mode is off/);
    await peer.deliver(await endpoint.writeParcel(sender, PAYLOAD));
    assert.equal((await peer.collectAll()).length, 1);
    // It is told of in order, and whatever is told of the second parcel comes before this.
    assert.equal((await debug('--for', '30m')).code, 0);
    assert.match((await debug('--stop')).stdout, /Debug mode is off/);
    const ends = () => gateway.log.flatMap(({ msg }, index) => (msg === 'Debug mode ends' ? [index] : []));
    while (ends().length < 2) {
      await delay(20);
    }

    const [end = 0] = ends();
    const begin = gateway.log.findIndex(({ msg }) => msg === 'Debug mode begins by order of the operator');
    const again = gateway.log.findLastIndex(({ msg }) => msg === 'Debug mode begins by order of the operator');
    const told = (from: number, to: number) => new Set(gateway.log.slice(from, to).map(({ msg }) => msg));
    const [during, between] = [told(begin, end), told(end, again)];
    for (const message of ['Answered', 'Message event', 'Store called']) {
      assert.ok(during.has(message), `${message} is not among ${[...during]}`);
      assert.ok(!between.has(message), `${message} is among ${[...between]}`);
    }
    const all = JSON.stringify(gateway.log);
    for (const form of ['utf8', 'base64', 'hex', 'base64url'] as const) {
      assert.ok(!all.includes(PAYLOAD.toString(form).slice(4, 40)), form);
    }
  });

  test('takes the profile that its help shows', async () => {
    const example = /\$ relay-gateway debug (.+)/.exec((await debug('--help')).stdout)?.[1]?.split(' ') ?? [];
    const file = path.join(folder, example.pop() ?? '');
    // An idle gateway has next to nothing to show.
    let isOver = false;
    const load = (async () => {
      while (!isOver) {
        await (await fetch(`${gateway.ops}/metrics`)).text();
      }
    })();
    const { code, stderr } = await debug(...example, file).finally(() => {
      isOver = true;
    });
    await load;
    assert.equal(code, 0, stderr);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok((JSON.parse(readFileSync(file, 'utf8')) as { nodes: unknown[] }).nodes.length > 10);
  });

  test('writes a heap snapshot only to who says that it holds secrets, and never over a file', async () => {
    const file = path.join(folder, 'gateway.heapsnapshot');
    const refused = await debug('--heap-snapshot', file);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /session keys[\s\S]*--with-secrets/);
    assert.equal(existsSync(file), false);
    const begun = () => gateway.log.filter(({ msg }) => msg.startsWith('Debug mode begins')).length;
    const before = begun();
    const taken = await debug('--for', '30s', '--heap-snapshot', file, '--with-secrets');
    assert.equal(taken.code, 0, taken.stderr);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.ok(readFileSync(file).subarray(0, 12).equals(Buffer.from('{"snapshot":')));
    assert.equal(begun(), before + 1);
    await gateway.logged('Heap snapshot taken by order of the operator: it holds all secrets of this process');

    writeFileSync(file, 'kept');
    const again = await debug('--heap-snapshot', file, '--with-secrets');
    assert.equal(again.code, 1);
    assert.match(again.stderr, /EEXIST/);
    assert.equal(readFileSync(file, 'utf8'), 'kept');
    assert.equal((await debug('--stop')).code, 0);
  });

  test('is refused for longer than an hour, and where no gateway runs', async () => {
    const long = await debug('--for', '61m');
    assert.equal(long.code, 2);
    assert.match(long.stderr, /from 1s to 1h/);
    const nowhere = await runRelayGateway(['debug'], { DATA_DIR: folder });
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /No gateway runs/);
  });
});
