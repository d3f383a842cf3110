/**
 * What happened to a message as spans of one trace, whichever process saw it.
 *
 * The id that goes with a message from its door to its acknowledgement is a UUID, and its octets are the trace id. The
 * span of the door has an id made of that, so that every process knows the parent of its own spans, and nothing more
 * than that one id is stored or passed on.
 */
import { hash, randomBytes } from 'node:crypto';
import type { CargoEvent } from '../gateway/cargo/cargo-events.ts';
import type { Clock, JournalEntry } from '../gateway/ports.ts';
import { type Span, SpanKind } from './otlp-exporter.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const SPAN_ID_DIGITS = 16;

export class MessageSpans {
  private readonly clock: Clock;
  private readonly onSpan: (span: Span) => void;

  constructor({ clock, onSpan }: { clock: Clock; onSpan: (span: Span) => void }) {
    this.clock = clock;
    this.onSpan = onSpan;
  }

  /** An event of a parcel's way. */
  parcel(entry: JournalEntry): void {
    const { event, trace, cargo, took = 0, waited, code, place } = entry;
    const attributes = {
      'awala.parcel': entry.parcel,
      'awala.door': entry.door,
      'awala.place': place,
      'awala.sender': entry.sender,
      'awala.recipient': entry.recipient,
      'awala.private_gateway': entry.peer,
      'awala.destination': entry.destination,
      'awala.code': code,
      'awala.size': entry.size,
    };
    const tell = (name: string, kind: number, span: { took?: number; before?: number; isRoot?: boolean } = {}) =>
      this.tell(trace, { name, kind, attributes, error: isFault(event) ? (code ?? event) : undefined, ...span });
    switch (event) {
      case 'accepted':
      case 'refused':
        // One that came in cargo is part of the cargo's trace.
        tell('accept parcel', SpanKind.server, { took, isRoot: cargo === undefined });
        break;
      case 'sent':
      case 'loaded':
        tell('wait in mailbox', SpanKind.internal, { took: waited ?? 0 });
        break;
      case 'acknowledged':
        tell('acknowledge parcel', SpanKind.server, { took });
        break;
      case 'sent-on':
        tell('wait in outbox', SpanKind.internal, { took: (waited ?? took) - took, before: took });
        tell('deliver to Internet node', SpanKind.client, { took });
        break;
      case 'postponed':
      case 'given-up':
        tell('deliver to Internet node', SpanKind.client, { took });
        break;
      default:
        tell(`${event} parcel`, SpanKind.internal);
    }
  }

  /** An event of a cargo's way. */
  cargo({ event, ids, code, took = 0 }: CargoEvent): void {
    const attributes = {
      'awala.cargo': ids.cargo,
      'awala.cca': ids.cca,
      'awala.private_gateway': ids.peer,
      'awala.code': code,
      'awala.outcome': event,
    };
    const isOpening = event === 'opened' || event === 'dropped' || event === 'waiting';
    const isCollection = event === 'collected' || event === 'broken-off' || event === 'collection-refused';
    const isWell = event === 'accepted' || event === 'opened' || event === 'collected';
    this.tell(ids.trace, {
      name: isOpening ? 'open cargo' : isCollection ? 'collect cargo' : 'accept cargo',
      kind: isOpening ? SpanKind.internal : SpanKind.server,
      attributes,
      error: isWell ? undefined : (code ?? event),
      took,
      isRoot: !isOpening,
    });
  }

  private tell(
    trace: string,
    {
      took = 0,
      before = 0,
      isRoot = false,
      ...span
    }: Pick<Span, 'name' | 'kind' | 'attributes' | 'error'> & { took?: number; before?: number; isRoot?: boolean },
  ): void {
    if (!UUID.test(trace)) {
      return;
    }
    const traceId = trace.replaceAll('-', '');
    const end = this.clock.now() - before;
    const ids = isRoot ? { spanId: rootSpanId(traceId) } : { spanId: newSpanId(), parentSpanId: rootSpanId(traceId) };
    this.onSpan({ traceId, ...ids, ...span, start: end - Math.max(0, took), end });
  }
}

function isFault(event: JournalEntry['event']): boolean {
  return event === 'refused' || event === 'postponed' || event === 'given-up';
}

/** Of the span of the door, which all others of the trace are under. */
function rootSpanId(traceId: string): string {
  return hash('sha256', traceId).slice(0, SPAN_ID_DIGITS);
}

function newSpanId(): string {
  return randomBytes(SPAN_ID_DIGITS / 2).toString('hex');
}
