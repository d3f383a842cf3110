/**
 * Sends spans to a collector by OTLP over HTTP in JSON, some at a time. What cannot be sent is tried again a few times and
 * then lost, as is what comes while too much waits: nobody waits for it.
 *
 * Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
 */
import { setTimeout as pause } from 'node:timers/promises';

/** Spans of one request, and for how long the first waits for others, in milliseconds. */
const BATCH = 512;
const DELAY = 1000;

/** Spans that wait at most. */
const MOST_WAITING = 8192;

/** How long one request may take, and how often it is made, in milliseconds. */
const TIMEOUT = 10_000;
const ATTEMPTS = 4;
const FIRST_PAUSE = 500;

/** How long the last requests may take altogether, when the process ends, in milliseconds. */
const LAST_TIME = 2000;

/** How often faults are told in the log at most, in milliseconds. */
const TELL_INTERVAL = 60_000;

/** Answers after which the same may be sent again. */
const PASSING: ReadonlySet<number> = new Set([429, 502, 503, 504]);

/** Of `SpanKind`. */
export const SpanKind = { internal: 1, server: 2, client: 3 } as const;

const STATUS_ERROR = 2;

/** Something that took time. */
export interface Span {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  /** Milliseconds since the epoch. */
  readonly start: number;
  readonly end: number;
  readonly attributes: Readonly<Record<string, string | number | undefined>>;
  /** Why it went wrong. */
  readonly error?: string | undefined;
}

export interface OtlpExporterOptions {
  /** Where spans are posted to: a URL with its path. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What the spans are of, e.g. `service.name`. */
  readonly resource: Readonly<Record<string, string>>;
  readonly log: { warn(fields: object, message: string): void };
}

export class OtlpExporter implements AsyncDisposable {
  private readonly options: OtlpExporterOptions;
  private waiting: Span[] = [];
  private lost = 0;
  private quietUntil = 0;
  private timer: NodeJS.Timeout | undefined;
  private sending: Promise<void> = Promise.resolve();
  private readonly end = new AbortController();
  private readonly cut = new AbortController();

  constructor(options: OtlpExporterOptions) {
    this.options = options;
  }

  add(span: Span): void {
    if (this.waiting.length >= MOST_WAITING) {
      this.lose(1, 'too many wait');
      return;
    }
    this.waiting.push(span);
    if (this.waiting.length >= BATCH) {
      this.flush();
    } else {
      this.timer ??= setTimeout(() => this.flush(), DELAY).unref();
    }
  }

  /** Sends what waits, once; what then fails is lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end.abort();
    const timer = setTimeout(() => this.cut.abort(), LAST_TIME);
    this.flush();
    await this.sending;
    clearTimeout(timer);
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.sending = this.sending.then(async () => {
      while (this.waiting.length > 0) {
        await this.send(this.waiting.splice(0, BATCH));
      }
    });
  }

  /** Never rejects. */
  private async send(spans: readonly Span[]): Promise<void> {
    const { url, headers, resource } = this.options;
    const body = JSON.stringify(exportRequest(resource, spans));
    for (let attempt = 1, rest = FIRST_PAUSE; ; attempt++, rest *= 2) {
      let reason: string;
      let isPassing = true;
      try {
        const response = await fetch(url, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body,
          signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT), this.cut.signal]),
        });
        await response.body?.cancel();
        if (response.ok) {
          return;
        }
        reason = `answered ${response.status}`;
        isPassing = PASSING.has(response.status);
      } catch (error) {
        reason = (error as Error).message;
      }
      if (!isPassing || attempt === ATTEMPTS || this.end.signal.aborted) {
        this.lose(spans.length, reason);
        return;
      }
      await pause(rest, undefined, { signal: this.end.signal, ref: false }).catch(() => undefined);
    }
  }

  private lose(spans: number, reason: string): void {
    this.lost += spans;
    const now = performance.now();
    if (now >= this.quietUntil) {
      this.quietUntil = now + TELL_INTERVAL;
      this.options.log.warn({ spans: this.lost, reason }, 'Spans of traces were lost');
      this.lost = 0;
    }
  }
}

/** As `ExportTraceServiceRequest` is written in JSON: ids in hexadecimal, times in nanoseconds as texts. */
function exportRequest(resource: Readonly<Record<string, string>>, spans: readonly Span[]): object {
  return {
    resourceSpans: [
      {
        resource: { attributes: attributesOf(resource) },
        scopeSpans: [{ scope: { name: 'relay-gateway' }, spans: spans.map(spanOf) }],
      },
    ],
  };
}

function spanOf({ traceId, spanId, parentSpanId, name, kind, start, end, attributes, error }: Span): object {
  return {
    traceId,
    spanId,
    ...(parentSpanId && { parentSpanId }),
    name,
    kind,
    startTimeUnixNano: nanoseconds(start),
    endTimeUnixNano: nanoseconds(end),
    attributes: attributesOf(attributes),
    status: error === undefined ? {} : { code: STATUS_ERROR, message: error },
  };
}

function nanoseconds(milliseconds: number): string {
  return `${Math.round(milliseconds * 1000)}000`;
}

function attributesOf(values: Readonly<Record<string, string | number | undefined>>): object[] {
  return Object.entries(values).flatMap(([key, value]) => {
    if (value === undefined) {
      return [];
    }
    return [
      { key, value: typeof value === 'number' ? { intValue: String(Math.round(value)) } : { stringValue: value } },
    ];
  });
}
