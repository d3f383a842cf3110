/**
 * The signal "a parcel came": the stored parcel's entry and, where it is small, the parcel itself, so that live
 * delivery reads nothing.
 *
 * Layout: length of the entry (4 octets, big-endian), the entry as JSON, then the parcel or nothing.
 */
import type { ObjectEntry } from './ports.ts';

/** The largest parcel that rides inside its signal. */
const MAX_BODY_OCTETS = 16 * 1024;

const LENGTH_OCTETS = 4;

export function writeParcelSignal(entry: ObjectEntry, body: Buffer): Buffer {
  const { key, version, arrival, expiry, size, metadata } = entry;
  const header = Buffer.from(JSON.stringify({ key, version, arrival, expiry, size, metadata }));
  const length = Buffer.allocUnsafe(LENGTH_OCTETS);
  length.writeUInt32BE(header.length);
  return Buffer.concat(body.length <= MAX_BODY_OCTETS ? [length, header, body] : [length, header]);
}

/** Signals come from our own processes, so their syntax is not doubted. */
export function readParcelSignal(signal: Buffer): { entry: ObjectEntry; body: Buffer | undefined } {
  const end = LENGTH_OCTETS + signal.readUInt32BE(0);
  const entry = JSON.parse(signal.toString('utf8', LENGTH_OCTETS, end)) as ObjectEntry;
  return { entry, body: end < signal.length ? signal.subarray(end) : undefined };
}
