/** `relay-gateway trace --logs`: logs as they are found, whatever collected them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, suite, test } from 'node:test';
import { projectRoot } from '../support/gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';

const IDS = { trace: 'a-trace', parcel: 'a-parcel', sender: '0a', recipient: '0b' };

const ACCEPTED = {
  ...{ severity: 'INFO', level: 30, time: '2026-11-25T01:02:03.004Z', service: 'poweb' },
  ...{ event: 'accepted', door: 'poweb', ...IDS, peer: '0c', place: 'outbox', destination: 'ping.example' },
  msg: 'Parcel accepted',
};
const POSTPONED = {
  ...{ level: 30, time: '2026-11-25T01:02:04.000Z', event: 'postponed', door: 'pohttp', ...IDS },
  ...{ code: 'CONNECTION_FAILED', reason: 'refused', next: '2026-11-25T01:02:31.000Z', msg: 'Parcel not sent yet' },
};
const SENT = {
  level: 30,
  time: '2026-11-25T01:02:32.000Z',
  event: 'sent-on',
  door: 'pohttp',
  ...IDS,
  msg: 'Parcel sent',
};
const { time: timestamp, ...payload } = SENT;

suite('relay-gateway trace --logs', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'relay-gateway-logs-'));
  after(() => rmSync(folder, { recursive: true }));

  const file = (name: string, ...lines: (object | string)[]) => {
    const written = path.join(folder, name);
    writeFileSync(written, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
    return written;
  };

  test('puts the lines of several processes in order, and passes over all else', async () => {
    const door = file(
      'door.log',
      'no JSON, though it says a-parcel',
      '{"broken": "a-parcel',
      { ...ACCEPTED, event: undefined, msg: 'a-parcel in a line that is no event' },
      { ...ACCEPTED, parcel: 'another', trace: 'a-parcel-too' },
      { ...ACCEPTED, time: 'never' },
      `{"trace":"a-parcel","padding":"${'x'.repeat(300_000)}"}`,
      // As `kubectl logs --prefix --timestamps` has it.
      `[pod/poweb-1/gateway] 2026-11-25T01:02:03.100Z ${JSON.stringify(ACCEPTED)}`,
    );
    // As Cloud Logging has it, and twice, since logs were fetched twice.
    const worker = file(
      'worker.log',
      { timestamp, jsonPayload: payload },
      '',
      { timestamp, jsonPayload: payload },
      POSTPONED,
    );
    const { code, stdout, stderr } = await runRelayGateway(['trace', 'a-parcel', '--logs', worker, door]);
    assert.equal(code, 0, stderr);
    assert.equal(
      stdout,
      [
        'Parcel  a-parcel',
        'from    0a',
        'to      0b',
        '  2026-11-25T01:02:03.004Z  accepted   by poweb, in outbox, for ping.example, private gateway 0c, trace a-trace',
        '  2026-11-25T01:02:04.000Z  postponed  by pohttp, CONNECTION_FAILED: refused, next try 2026-11-25T01:02:31.000Z, trace a-trace',
        '  2026-11-25T01:02:32.000Z  sent-on    by pohttp, trace a-trace',
        '',
      ].join('\n'),
    );
  });

  test('reads standard input, and finds by the trace id too', async () => {
    const program = spawn(process.execPath, ['src/cli/main.ts', 'trace', 'a-trace', '--logs', '-', '--json'], {
      cwd: projectRoot,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const printed = text(program.stdout);
    const ended = once(program, 'exit');
    program.stdin.end(
      `${JSON.stringify({ ...ACCEPTED, event: 'refused', door: undefined })}\n${JSON.stringify(SENT)}\n`,
    );
    const { parcels } = JSON.parse(await printed);
    assert.deepEqual(await ended, [0, null]);
    assert.deepEqual(
      parcels.map(({ hops }: { hops: { event: string; door: string }[] }) =>
        hops.map(({ event, door }) => [event, door]),
      ),
      // A refusal has the service where it was.
      [
        [
          ['refused', 'poweb'],
          ['sent-on', 'pohttp'],
        ],
      ],
    );
  });

  test('says that nothing is known, and which file cannot be read', async () => {
    const unknown = await runRelayGateway(['trace', 'unheard-of', '--logs', file('some.log', ACCEPTED)]);
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /^Nothing is known of unheard-of: it never came, or these logs do not have it/);
    const missing = await runRelayGateway(['trace', 'a-parcel', '--logs', path.join(folder, 'missing.log')]);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /^relay-gateway: .*missing\.log/);
  });
});
