/**
 * Gives the room of deleted messages back: segments of the log to which no entry leads are removed, and what is alive in
 * those that are mostly dead is written once more, at the end of the log.
 */
import { setImmediate } from 'node:timers/promises';
import { StoreError } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import type { IndexFeed } from './index-feed.ts';
import { DELETE, MOVE, type ObjectHead, type Place, placeOf, segmentOf } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import { isDiskError } from './segment-reader.ts';
import type { Segment, SegmentRecord } from './segments.ts';
import type { StoreFiles } from './store-files.ts';
import { UNREAD_STRETCHES } from './unread-stretches.ts';

/** A segment of which less than this share is alive is emptied. */
const LEAST_LIVE_SHARE = 0.6;
/** A segment that is still written to is left alone while it has less. */
const LEAST_SEALED_OCTETS = 8 * 1024 * 1024;
/** Bodies that are moved at a time. */
const BATCH_RECORDS = 256;
const BATCH_OCTETS = 4 * 1024 * 1024;

interface Parts {
  readonly files: StoreFiles;
  readonly log: MessageLog;
  readonly feed: IndexFeed;
  /** Segments that were emptied, but for what is damaged or cannot be read: to try that once more takes its time. */
  readonly emptied: Set<number>;
}

/**
 * @param isThorough whether the segment that is being written to counts, too, however short it is, and those that were emptied before
 * @throws StoreError
 */
export async function compactLog(parts: Parts, isThorough: boolean): Promise<void> {
  const { files, log, feed, emptied } = parts;
  if (isThorough) {
    emptied.clear();
  }
  const tail = log.tailSegment;
  if (tail && (isThorough || tail.octets >= LEAST_SEALED_OCTETS)) {
    await feed.flush();
    const live = (await lookAtIndex(files)).live.get(tail.number) ?? 0;
    if (live < tail.octets * LEAST_LIVE_SHARE) {
      await log.seal();
    }
  }
  // Room first: on a full disk, what moves needs it.
  await removeDead(parts);
  const before = await lookAtIndex(files);
  const sparse = indexedSegments(log, before)
    .map((segment) => ({ segment, live: before.live.get(segment.number) ?? 0 }))
    .filter(({ segment, live }) => live > 0 && live < segment.octets * LEAST_LIVE_SHARE)
    .filter(({ segment }) => !emptied.has(segment.number))
    .sort((one, other) => one.live - other.live);
  for (const { segment } of sparse) {
    await empty(parts, segment);
    emptied.add(segment.number);
    // One at a time: what was moved takes room until the segment is gone.
    await removeDead(parts);
  }
}

async function removeDead(parts: Parts): Promise<void> {
  const { files, log, feed, emptied } = parts;
  const { repairsOfObjects } = files;
  await feed.flush();
  const state = await lookAtIndex(files);
  const dead: number[] = [];
  for (const segment of indexedSegments(log, state)) {
    // That nothing counts is not enough to go by: damage to the index may have made the count wrong.
    if ((state.live.get(segment.number) ?? 0) <= 0 && (await empty(parts, segment)) === 0) {
      dead.push(segment.number);
    }
  }
  // Without power, the index may fall back to where it was durable: nothing that it led to there may be gone.
  if (dead.length === 0 || !(await files.checkpointObjects())) {
    return;
  }
  if (files.repairsOfObjects !== repairsOfObjects) {
    // Entries may have been missing when we looked.
    return;
  }
  for (const number of dead) {
    await log.remove(number);
    emptied.delete(number);
  }
  await files.write(
    'objects',
    [['DELETE FROM segments WHERE id IN (SELECT value FROM json_each(?))', JSON.stringify(dead)]],
    0,
  );
}

interface IndexState {
  /** Up to where the index has the log. */
  readonly place: Place;
  /** Octets in each segment that entries lead to. */
  readonly live: ReadonlyMap<number, number>;
  /** Segments of which something may be read another time. */
  readonly kept: ReadonlySet<number>;
}

/** At one instant: a segment may come alive and be wholly in the index between two looks. */
async function lookAtIndex(files: StoreFiles): Promise<IndexState> {
  const [rows, unread] = await Promise.all([
    files.read('objects', 'SELECT place, segments.id, live FROM progress LEFT JOIN segments'),
    files.read('objects', UNREAD_STRETCHES),
  ]);
  const live = rows.filter(({ id }) => id !== null).map(({ id, live: octets }) => [id, octets] as [number, number]);
  const kept = unread.map(({ place }) => segmentOf(place as number));
  return { place: Number(rows[0]?.['place'] ?? 0), live: new Map(live), kept: new Set(kept) };
}

/** Segments that take no more records, of which all is in the index, and nothing has to stay. */
function indexedSegments(log: MessageLog, { place, kept }: IndexState): Segment[] {
  const sealed = log.sealedSegments;
  const newest = sealed.at(-1)?.number;
  // Where another segment was begun, records end before the file does if the power failed.
  return sealed.filter(
    ({ number, octets }) =>
      !kept.has(number) && (placeOf(number + 1, 0) <= place || (number === newest && placeOf(number, octets) <= place)),
  );
}

/** Writes what is alive in a segment once more. @returns how much was alive */
async function empty(parts: Parts, segment: Segment): Promise<number> {
  let batch: ObjectRecord[] = [];
  let octets = 0;
  let alive = 0;
  for (const record of parts.log.recordsOf(segment)) {
    if (record && isObject(record)) {
      batch.push(record);
      octets += record.bodyOctets;
    }
    if (!record || batch.length >= BATCH_RECORDS || octets >= BATCH_OCTETS) {
      alive += await moveLive(parts, batch);
      batch = [];
      octets = 0;
      await setImmediate();
    }
  }
  return alive + (await moveLive(parts, batch));
}

/** @returns how many were alive */
async function moveLive(parts: Parts, records: readonly ObjectRecord[]): Promise<number> {
  const alive = await aliveOf(parts.files, records);
  const bodies = await Promise.all(alive.map((record) => readSound(parts.log, record)));
  // Reading may have taken a while. From this look on, whoever changes one is seen by `isChanging`.
  const stillAlive = new Set(await aliveOf(parts.files, alive));
  await Promise.all(
    alive.map((record, index) => {
      const body = bodies[index];
      return body && stillAlive.has(record) && !parts.feed.isChanging(record.head[2])
        ? move(parts, record, body)
        : undefined;
    }),
  );
  return alive.length;
}

/** Those to which their entries lead. */
async function aliveOf(files: StoreFiles, records: readonly ObjectRecord[]): Promise<ObjectRecord[]> {
  if (records.length === 0) {
    return [];
  }
  const ids = JSON.stringify(records.map(({ head }) => head[1]));
  const rows = await files.read('objects', PLACES, ids);
  const places = new Map(rows.map(({ id, place }) => [id, place]));
  return records.filter((record) => places.get(record.head[1]) === placeOfBody(record));
}

/** What is damaged, or cannot be read, stays where it is until somebody reads it. */
async function readSound(log: MessageLog, record: ObjectRecord): Promise<Buffer | undefined> {
  const [, , , , size, , bodyChecksum] = record.head;
  try {
    const body = await log.segments.read(placeOfBody(record), size);
    return body?.length === size && checksum(body) === bodyChecksum ? body : undefined;
  } catch (error) {
    if (isDiskError((error as StoreError).cause)) {
      return undefined;
    }
    throw error;
  }
}

async function move({ log, feed }: Parts, { head }: ObjectRecord, body: Buffer): Promise<void> {
  const [, id, key, expiry, size, metadata, bodyChecksum, entryChecksum] = head;
  const moved = JSON.stringify([MOVE, id, key, expiry, size, metadata, bodyChecksum, entryChecksum]);
  try {
    // It makes room in the end, so it may take the reserve's.
    await log.append(moved, { body, takesRoom: false, onWritten: (to) => feed.add(moved, to, size) });
  } catch (error) {
    if (!(error instanceof StoreError && error.code === 'STORE_FULL')) {
      throw error;
    }
  }
}

/** A record that has a body. */
type ObjectRecord = SegmentRecord & { readonly head: ObjectHead };

function isObject(record: SegmentRecord): record is ObjectRecord {
  return record.head[0] !== DELETE;
}

function placeOfBody({ segment, end, bodyOctets }: SegmentRecord): Place {
  return placeOf(segment, end - bodyOctets);
}

const PLACES = 'SELECT id, place FROM entries WHERE id IN (SELECT value FROM json_each(?))';
