/** The ways of parcels as the logs of any number of processes tell them: read once, in bounded memory, and put in order. */
import { createReadStream } from 'node:fs';
import { boundedLines } from '../migration/export-lines.ts';
import { parcelsOf, type TimedEntry, type TraceReport } from '../services/control/trace-report.ts';

/** Standard input, as the name of a file. */
const STANDARD_INPUT = '-';

/** Events that are kept of one id: one that is postponed hourly for 180 days has half as many. */
const MOST_EVENTS = 10_000;

/** Texts of a line that a hop has. */
const TEXTS = [
  ...['event', 'trace', 'parcel', 'cargo', 'sender', 'recipient', 'peer', 'door', 'place', 'mailbox', 'destination'],
  ...['code', 'reason'],
] as const;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Lines that are none of a message's events are passed over; where whatever collected them put something before the JSON,
 * or wrapped it as Cloud Logging does, that is taken off.
 *
 * @param id RAMF message id of a parcel, or the trace id of a line
 * @param files names; `-` is standard input
 * @throws Error when a file cannot be read
 */
export async function traceLogs(id: string, files: readonly string[]): Promise<TraceReport> {
  // As it stands in a line, so that few lines need to be read.
  const needle = JSON.stringify(id).slice(1, -1);
  /** By their lines, since logs that overlap have the same line twice. */
  const events = new Map<string, TimedEntry>();
  for (const file of files) {
    const octets: AsyncIterable<Uint8Array> = file === STANDARD_INPUT ? process.stdin : createReadStream(file);
    for await (const { text } of boundedLines(octets)) {
      if (!text?.includes(needle)) {
        continue;
      }
      const json = text.slice(Math.max(0, text.indexOf('{')));
      const entry = eventOf(json);
      if (entry && (entry.parcel === id || entry.trace === id)) {
        events.set(json, entry);
        if (events.size > MOST_EVENTS) {
          throw new Error(`There are more than ${MOST_EVENTS} events of ${id}: give the logs of a shorter time`);
        }
      }
    }
  }
  const ordered = [...events.values()].sort((one, other) => one.time - other.time);
  return { id, parcels: parcelsOf(ordered).map(({ entries: _entries, ...trace }) => trace) };
}

/** Undefined for a line that is no event of a message's. */
function eventOf(json: string): TimedEntry | undefined {
  let line: Fields;
  try {
    line = JSON.parse(json);
  } catch {
    return undefined;
  }
  // https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry; the agent takes the time out of the payload.
  const fields = isFields(line['jsonPayload']) ? { time: line['timestamp'], ...line['jsonPayload'] } : line;
  const time = Date.parse(String(fields['time']));
  if (typeof fields['event'] !== 'string' || typeof fields['trace'] !== 'string' || Number.isNaN(time)) {
    return undefined;
  }
  const texts = TEXTS.flatMap((name) => (typeof fields[name] === 'string' ? [[name, fields[name]]] : []));
  const { service, size } = fields;
  const next = Date.parse(String(fields['next']));
  return {
    time,
    // A refusal has the service where it was.
    ...(typeof service === 'string' && { door: service }),
    ...Object.fromEntries(texts),
    ...(typeof size === 'number' && { size }),
    ...(!Number.isNaN(next) && { next }),
  } as TimedEntry;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}
