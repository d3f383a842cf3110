/** A collector of a test's own: takes traces by OTLP over HTTP, in JSON, and reads them as strictly as the protocol says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly start: bigint;
  readonly end: bigint;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly isError: boolean;
  /** `service.instance.id` of the process that sent it. */
  readonly instance: string;
}

export interface OtlpReceiver extends AsyncDisposable {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** Headers of the requests. */
  readonly headers: readonly Readonly<Record<string, unknown>>[];
  /** What the next requests are answered; 200 when there are no more. */
  readonly statuses: number[];
  /** Resolves with the spans of a trace, once there are so many with this name. */
  trace(traceId: string, name: string, count?: number): Promise<ReceivedSpan[]>;
}

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: string };
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const headers: Record<string, unknown>[] = [];
  const statuses: number[] = [];
  const faults: unknown[] = [];
  const server = createServer(async (request, response) => {
    const body = await json(request);
    headers.push(request.headers);
    const status = statuses.shift() ?? 200;
    try {
      assert.equal(request.url, '/v1/traces');
      assert.equal(request.headers['content-type'], 'application/json');
      if (status === 200) {
        spans.push(...read(body));
      }
    } catch (error) {
      faults.push(error);
    }
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    headers,
    statuses,
    async trace(traceId, name, count = 1) {
      for (;;) {
        assert.deepEqual(faults, []);
        const found = spans.filter((span) => span.traceId === traceId);
        if (found.filter((span) => span.name === name).length >= count) {
          return found;
        }
        await pause(20);
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function read(body: unknown): ReceivedSpan[] {
  const { resourceSpans } = body as {
    resourceSpans: {
      resource: { attributes: Attribute[] };
      scopeSpans: { spans: Record<string, unknown>[] }[];
    }[];
  };
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const { 'service.name': service, 'service.instance.id': instance } = attributesOf(resource.attributes);
    assert.equal(service, 'relay-gateway');
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => readSpan(span, String(instance))));
  });
}

function readSpan(span: Record<string, unknown>, instance: string): ReceivedSpan {
  const text = (name: string, pattern: RegExp) => {
    const value = span[name];
    assert.ok(typeof value === 'string' && pattern.test(value), `${name}: ${value}`);
    return value;
  };
  const status = (span['status'] as { code?: number }).code ?? 0;
  assert.ok([0, 1, 2].includes(status));
  assert.ok([1, 2, 3].includes(span['kind'] as number));
  const read = {
    traceId: text('traceId', /^[0-9a-f]{32}$/),
    spanId: text('spanId', /^[0-9a-f]{16}$/),
    parentSpanId: span['parentSpanId'] === undefined ? undefined : text('parentSpanId', /^[0-9a-f]{16}$/),
    name: text('name', /./),
    start: BigInt(text('startTimeUnixNano', /^\d+$/)),
    end: BigInt(text('endTimeUnixNano', /^\d+$/)),
    attributes: attributesOf(span['attributes'] as Attribute[]),
    isError: status === 2,
    instance,
  };
  assert.ok(read.start <= read.end);
  return read;
}

function attributesOf(attributes: readonly Attribute[]): Record<string, string | number> {
  return Object.fromEntries(
    attributes.map(({ key, value: { stringValue, intValue } }) => {
      assert.ok(typeof stringValue === 'string' || typeof intValue === 'string', key);
      return [key, stringValue ?? Number(intValue)];
    }),
  );
}
