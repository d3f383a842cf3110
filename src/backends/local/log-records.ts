/**
 * How messages and their ends lie in the log: one record after the other in segments, files of the folder `messages`.
 *
 * A segment begins with a marker of its own, random, that also stands before each of its records: what a stranger puts
 * into a message can not pass for a record where damage makes us look for the next one. Then come a CRC-32 of all up to
 * the body, the lengths of head and body, the head (a JSON array), and the body, whose checksum stands in the head.
 */
import { crc32 } from 'node:zlib';

export const SEGMENT_MAGIC = Buffer.from('messages');
export const MARKER_OCTETS = 8;
/** Of a segment, before its first record. */
export const SEGMENT_HEADER_OCTETS = SEGMENT_MAGIC.length + MARKER_OCTETS;
/** Marker, checksum, and the lengths of head and body. */
export const PREFIX_OCTETS = MARKER_OCTETS + 12;

/** Heads hold a key of at most 512 octets and a few short strings. */
export const MOST_HEAD_OCTETS = 64 * 1024;

/** Far more than any message has. */
export const MOST_BODY_OCTETS = 512 * 1024 * 1024;

/**
 * Where a body begins: the number of its segment times 2^30, plus the octets before it there. A segment has some tens of
 * MiB, and one body at most beyond that; numbers are exact for the first 256 TiB that a directory takes.
 */
export type Place = number;

export const PLACE_BITS = 30;
const PLACES_A_SEGMENT = 2 ** PLACE_BITS;

export const PUT = 1;
/** The body of an object lies here from now on, if the object is still there. */
export const MOVE = 2;
export const DELETE = 3;

/** `metadata` is JSON; `checksum` covers all before it, `bodyChecksum` the body. */
export type ObjectHead = readonly [
  kind: typeof PUT | typeof MOVE,
  id: number,
  key: string,
  expiry: number,
  size: number,
  metadata: string,
  bodyChecksum: number,
  checksum: number,
];

/** The version of an object, and its key. */
export type DeleteHead = readonly [kind: typeof DELETE, id: number, key: string];

export type Head = ObjectHead | DeleteHead;

export function placeOf(segment: number, offset: number): Place {
  return segment * PLACES_A_SEGMENT + offset;
}

export function segmentOf(place: Place): number {
  return Math.floor(place / PLACES_A_SEGMENT);
}

export function offsetOf(place: Place): number {
  return place % PLACES_A_SEGMENT;
}

/**
 * A record up to its body, without its marker, which is the segment's that it will be in.
 *
 * @param head JSON
 * @param bodyOctets of the body that is to follow
 */
export function writeRecordHead(head: string, bodyOctets: number): Buffer {
  const headOctets = Buffer.byteLength(head);
  const octets = Buffer.allocUnsafe(PREFIX_OCTETS + headOctets);
  octets.writeUInt32LE(headOctets, MARKER_OCTETS + 4);
  octets.writeUInt32LE(bodyOctets, MARKER_OCTETS + 8);
  octets.write(head, PREFIX_OCTETS);
  octets.writeUInt32LE(checksumOf(octets, headOctets), MARKER_OCTETS);
  return octets;
}

/** Octets of a record before its body. */
export function octetsBeforeBody(record: Buffer): number {
  return PREFIX_OCTETS + record.readUInt32LE(MARKER_OCTETS + 4);
}

/** The lengths that a record's prefix tells, or undefined where none begins. */
export function readPrefix(prefix: Buffer, marker: Buffer): { headOctets: number; bodyOctets: number } | undefined {
  if (prefix.length < PREFIX_OCTETS || prefix.compare(marker, 0, MARKER_OCTETS, 0, MARKER_OCTETS) !== 0) {
    return undefined;
  }
  const headOctets = prefix.readUInt32LE(MARKER_OCTETS + 4);
  const bodyOctets = prefix.readUInt32LE(MARKER_OCTETS + 8);
  return headOctets > MOST_HEAD_OCTETS || bodyOctets > MOST_BODY_OCTETS ? undefined : { headOctets, bodyOctets };
}

/** The head of a record of which prefix and head are at hand, or undefined where its checksum is another. */
export function readHead(record: Buffer, headOctets: number): Head | undefined {
  if (record.readUInt32LE(MARKER_OCTETS) !== checksumOf(record, headOctets)) {
    return undefined;
  }
  return JSON.parse(record.toString('utf8', PREFIX_OCTETS, PREFIX_OCTETS + headOctets)) as Head;
}

function checksumOf(record: Buffer, headOctets: number): number {
  return crc32(record.subarray(MARKER_OCTETS + 4, PREFIX_OCTETS + headOctets));
}
