/** Traces: a message from its door to its acknowledgement, in a collector of OpenTelemetry's protocol. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { OtlpExporter, type Span, SpanKind } from '../../src/telemetry/otlp-exporter.ts';
import { MessageSpans } from '../../src/telemetry/spans.ts';
import { type AllDoors, openAllDoors } from '../support/all-doors.ts';
import { projectRoot, temporaryDirectory } from '../support/gateway.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../support/otlp-receiver.ts';

const NOTHING = { poweb: 0, pohttp: 0, cargo: 0, internet: 0, down: 0, refused: 0 };

async function openTraced(t: TestContext): Promise<{ doors: AllDoors; receiver: OtlpReceiver }> {
  const receiver = await startOtlpReceiver();
  const doors = await openAllDoors({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'api-key=planted%20key',
  });
  t.after(async () => {
    await doors[Symbol.asyncDispose]();
    await receiver[Symbol.asyncDispose]();
  });
  return { doors, receiver };
}

/** The trace id of the last line with this message. */
function traceOf({ lines }: AllDoors, message: string): string {
  const line = lines.findLast(({ msg }) => msg === message);
  return String(line?.['trace']).replaceAll('-', '');
}

/** Names of the spans that are under the door's, and that of the door. */
function namesUnderRoot(spans: Awaited<ReturnType<OtlpReceiver['trace']>>): [root: string, others: string[]] {
  const roots = spans.filter(({ parentSpanId }) => parentSpanId === undefined);
  assert.equal(roots.length, 1);
  const others = spans.filter(({ parentSpanId }) => parentSpanId !== undefined);
  assert.ok(others.every(({ parentSpanId }) => parentSpanId === roots[0]?.spanId));
  return [roots[0]?.name ?? '', others.map(({ name }) => name)];
}

describe('A trace', () => {
  test('follows a parcel from PoWeb to the acknowledgement of its collector', async (t) => {
    const { doors, receiver } = await openTraced(t);
    await doors.send({ ...NOTHING, poweb: 1 });
    const traceId = traceOf(doors, 'Parcel accepted');
    await doors.collect();
    const spans = await receiver.trace(traceId, 'acknowledge parcel');
    assert.deepEqual(namesUnderRoot(spans), ['accept parcel', ['wait in mailbox', 'acknowledge parcel']]);
    const parcel = doors.lines.findLast(({ msg }) => msg === 'Parcel accepted')?.['parcel'];
    assert.ok(spans.every(({ attributes, isError }) => attributes['awala.parcel'] === parcel && !isError));
    assert.ok(receiver.headers.every((headers) => headers['api-key'] === 'planted key'));
  });

  test('follows a parcel to its Internet node, and tells of each attempt that failed', async (t) => {
    const { doors, receiver } = await openTraced(t);
    await doors.send({ ...NOTHING, internet: 1 });
    const sent = await receiver.trace(traceOf(doors, 'Parcel sent'), 'deliver to Internet node');
    assert.deepEqual(namesUnderRoot(sent), ['accept parcel', ['wait in outbox', 'deliver to Internet node']]);
    await doors.send({ ...NOTHING, down: 1 });
    const failed = await receiver.trace(traceOf(doors, 'Parcel not sent yet'), 'deliver to Internet node');
    const attempt = failed.find(({ name }) => name === 'deliver to Internet node');
    assert.equal(attempt?.isError, true);
    assert.equal(attempt?.attributes['awala.code'], 'CONNECTION_FAILED');
  });

  test('has in it a cargo and all parcels that came in it', async (t) => {
    const { doors, receiver } = await openTraced(t);
    await doors.send({ ...NOTHING, cargo: 3 });
    const spans = await receiver.trace(traceOf(doors, 'Cargo opened'), 'open cargo');
    const [root, others] = namesUnderRoot(spans);
    assert.equal(root, 'accept cargo');
    assert.deepEqual(others.sort(), ['accept parcel', 'accept parcel', 'accept parcel', 'open cargo']);
  });

  test('is one, though two processes see its parts and share nothing but the id', () => {
    const spans: Span[] = [];
    const clock = new ManualClock(1_000_000);
    const trace = '8f5e6a3c-4f4d-4a6e-9a51-0b0a7f3f6c11';
    const processes = [0, 1].map(() => new MessageSpans({ clock, onSpan: (span) => spans.push(span) }));
    processes[0]?.parcel({ event: 'accepted', trace, parcel: 'p', door: 'poweb', took: 5 });
    clock.advance(2000);
    processes[1]?.parcel({ event: 'sent-on', trace, parcel: 'p', door: 'pohttp', took: 500, waited: 2000 });
    const [door, wait, delivery] = spans;
    assert.equal(spans.length, 3);
    assert.ok(spans.every(({ traceId }) => traceId === trace.replaceAll('-', '')));
    assert.equal(wait?.parentSpanId, door?.spanId);
    assert.equal(delivery?.parentSpanId, door?.spanId);
    assert.deepEqual([door?.start, door?.end], [999_995, 1_000_000]);
    assert.deepEqual([wait?.start, wait?.end], [1_000_000, 1_001_500]);
    assert.deepEqual([delivery?.start, delivery?.end], [1_001_500, 1_002_000]);
  });
});

describe('The exporter', () => {
  const span = (name: string): Span => ({
    traceId: 'a'.repeat(32),
    spanId: 'b'.repeat(16),
    name,
    kind: SpanKind.internal,
    start: 1,
    end: 2.5,
    attributes: {},
  });

  async function startExporter(t: TestContext, url?: string) {
    const receiver = await startOtlpReceiver();
    t.after(() => receiver[Symbol.asyncDispose]());
    const warnings: object[] = [];
    const exporter = new OtlpExporter({
      url: `${url ?? receiver.url}/v1/traces`,
      headers: {},
      resource: { 'service.name': 'relay-gateway' },
      log: { warn: (fields) => void warnings.push(fields) },
    });
    return { receiver, exporter, warnings };
  }

  test('sends what waits when it is closed', async (t) => {
    const { receiver, exporter, warnings } = await startExporter(t);
    for (let number = 0; number < 1000; number++) {
      exporter.add(span(`${number}`));
    }
    await exporter[Symbol.asyncDispose]();
    assert.equal(receiver.spans.length, 1000);
    assert.deepEqual([receiver.spans[0]?.start, receiver.spans[0]?.end], [1_000_000n, 2_500_000n]);
    assert.deepEqual(warnings, []);
  });

  test('tries again what may be taken later, and gives up what never will', async (t) => {
    const { receiver, exporter, warnings } = await startExporter(t);
    receiver.statuses.push(503, 429, 200, 400);
    exporter.add(span('later'));
    await receiver.trace('a'.repeat(32), 'later');
    assert.equal(receiver.headers.length, 3);
    exporter.add(span('never'));
    await exporter[Symbol.asyncDispose]();
    assert.equal(receiver.headers.length, 4);
    assert.deepEqual(warnings, [{ spans: 1, reason: 'answered 400' }]);
  });

  test('does not hold up the end of the process for a collector that is silent', async (t) => {
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const silent = createServer(() => resolve()).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    t.after(() => {
      silent.closeAllConnections();
      silent.close();
    });
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const { exporter, warnings } = await startExporter(t, url);
    exporter.add(span('unheard'));
    const closed = exporter[Symbol.asyncDispose]();
    await asked;
    const start = performance.now();
    await closed;
    assert.ok(performance.now() - start < 8000);
    assert.equal(warnings.length, 1);
  });

  test('keeps a bounded number while the collector is away, and ends all the same', async (t) => {
    const { exporter, warnings } = await startExporter(t, 'http://127.0.0.1:1');
    for (let number = 0; number < 20_000; number++) {
      exporter.add(span('lost'));
    }
    await exporter[Symbol.asyncDispose]();
    assert.equal(warnings.length, 1);
  });
});

test('Without a collector nothing of tracing is loaded, nor any module of OpenTelemetry', async (t) => {
  const hook = `data:text/javascript,${encodeURIComponent(`
    import { registerHooks } from 'node:module';
    registerHooks({
      load(url, context, next) {
        if (/opentelemetry|otlp|tracing|spans/.test(url)) process.stderr.write('LOADED ' + url + '\\n');
        return next(url, context);
      },
    });`)}`;
  const run = async (environment: Record<string, string>) => {
    const child = spawn(process.execPath, ['--import', hook, 'src/cli/main.ts', 'serve'], {
      cwd: projectRoot,
      env: {
        PATH: process.env['PATH'],
        DATA_DIR: temporaryDirectory(),
        POWEB_PORT: '0',
        POHTTP_PORT: '0',
        COGRPC_PORT: '0',
        OPS_PORT: '0',
        ...environment,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    t.after(() => child.kill('SIGKILL'));
    let errors = '';
    child.stderr.on('data', (text) => {
      errors += text;
      if (errors.includes('is ready after')) {
        child.kill('SIGTERM');
      }
    });
    await once(child, 'close');
    assert.match(errors, /is ready after/);
    return errors.split('\n').filter((line) => line.startsWith('LOADED'));
  };
  assert.deepEqual(await run({}), []);
  // The hook would have seen it.
  assert.ok((await run({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' })).length >= 3);
});
