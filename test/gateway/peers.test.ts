import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { Peers, type RegistrationPolicy } from '../../src/gateway/peers.ts';
import { type GatewayRoom, openGatewayRoom } from '../support/gateway-room.ts';
import { SilentSignals } from '../support/silent-signals.ts';

const idOf = (digit: string) => `0${digit.repeat(64)}`;
const [ANNA, BERT] = [idOf('a'), idOf('b')];

async function openRoom(context: TestContext): Promise<GatewayRoom> {
  const room = await openGatewayRoom();
  context.after(() => room[Symbol.asyncDispose]());
  return room;
}

function peersOf({ backends: { records, signals }, clock }: GatewayRoom, policy: RegistrationPolicy = 'open') {
  return Peers.open({ records, signals, clock, policy });
}

async function register({ backends: { records }, clock }: GatewayRoom, peer: string): Promise<void> {
  await records.put('private-gateways', peer, { registered: clock.now() });
}

suite('Private gateways', () => {
  test('may all register while the policy is open', async (context) => {
    using peers = await peersOf(await openRoom(context));
    await peers.requireRegistrable(ANNA);
  });

  test('may register where there is a list only when they are on it, or were registered before', async (context) => {
    const room = await openRoom(context);
    using peers = await peersOf(room, 'allowlist');
    await peers.allow(ANNA);
    await peers.requireRegistrable(ANNA);
    await assert.rejects(peers.requireRegistrable(BERT), { code: 'PEER_NOT_ALLOWED' });
    await register(room, BERT);
    await peers.requireRegistrable(BERT);
  });

  test('may only renew where registration is closed, whoever is allowed', async (context) => {
    const room = await openRoom(context);
    using peers = await peersOf(room, 'closed');
    await peers.allow(ANNA);
    await assert.rejects(peers.requireRegistrable(ANNA), { code: 'REGISTRATION_CLOSED' });
    await register(room, BERT);
    await peers.requireRegistrable(BERT);
  });

  test('are refused whatever they may otherwise, while they are blocked', async (context) => {
    const room = await openRoom(context);
    using peers = await peersOf(room, 'allowlist');
    await register(room, ANNA);
    await peers.allow(ANNA);
    await peers.block(ANNA);
    assert.ok(peers.isBlocked(ANNA));
    assert.throws(() => peers.requireWelcome(ANNA), { code: 'PEER_BLOCKED' });
    await assert.rejects(peers.requireRegistrable(ANNA), { code: 'PEER_BLOCKED' });
    peers.requireWelcome(BERT);
    await peers.unblock(ANNA);
    peers.requireWelcome(ANNA);
    await peers.requireRegistrable(ANNA);
  });

  test('are blocked by other processes too: at a signal, once', async (context) => {
    const room = await openRoom(context);
    using one = await peersOf(room);
    using other = await peersOf(room);
    const told: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    other.whenBlocked((peer) => {
      told.push(peer);
      resolve();
    });
    await one.block(ANNA);
    await promise;
    assert.ok(other.isBlocked(ANNA));
    await one.block(BERT);
    await one.unblock(ANNA);
    await other.refresh();
    assert.deepEqual(told, [ANNA, BERT]);
    assert.ok(!other.isBlocked(ANNA));
  });

  test('are blocked where the signal is lost by the next look, which reads one record when nothing has changed', async (context) => {
    const { backends, clock } = await openRoom(context);
    const { records } = backends;
    let lists = 0;
    const counted = new Proxy(records, {
      get(target, name: keyof typeof records) {
        lists += name === 'list' ? 1 : 0;
        return (target[name] as (...parameters: unknown[]) => unknown).bind(target);
      },
    });
    using one = await Peers.open({ records, signals: backends.signals, clock });
    using other = await Peers.open({ records: counted, signals: new SilentSignals(), clock });
    await one.block(ANNA);
    assert.ok(!other.isBlocked(ANNA));
    await other.refresh();
    assert.ok(other.isBlocked(ANNA));
    const before = lists;
    await other.refresh();
    assert.equal(lists, before);
  });

  test('stay blocked when the gateway starts again', async (context) => {
    const room = await openRoom(context);
    {
      using peers = await peersOf(room);
      await peers.block(ANNA);
    }
    using peers = await peersOf(room);
    assert.ok(peers.isBlocked(ANNA));
  });

  test('are listed: registered ones, then those only allowed or blocked', async (context) => {
    const room = await openRoom(context);
    using peers = await peersOf(room);
    const registered = idOf('c');
    await register(room, registered);
    await peers.allow(BERT);
    await peers.block(ANNA);
    await peers.block(registered);
    assert.deepEqual(await Array.fromAsync(peers.list()), [
      { id: registered, isAllowed: false, isBlocked: true, registered: room.clock.now() },
      { id: ANNA, isAllowed: false, isBlocked: true },
      { id: BERT, isAllowed: true, isBlocked: false },
    ]);
  });

  test('are named by their node ids and nothing else', async (context) => {
    using peers = await peersOf(await openRoom(context));
    for (const id of ['', 'anna', ANNA.toUpperCase(), ANNA.slice(1), `${ANNA}0`]) {
      await assert.rejects(peers.block(id), TypeError);
      await assert.rejects(peers.allow(id), TypeError);
      await assert.rejects(peers.unblock(id), TypeError);
    }
  });
});
