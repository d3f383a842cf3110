/**
 * Gives the room of deleted messages back: segments of the log to which no entry leads are removed, and what is alive in
 * those that are mostly dead is written once more, at the end of the log.
 */
import { setImmediate } from 'node:timers/promises';
import { StoreError } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import type { IndexFeed } from './index-feed.ts';
import { DELETE, MOVE, type Place, placeOf } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import type { LogRecord } from './segment-reader.ts';
import type { Segment } from './segments.ts';
import type { StoreFiles } from './store-files.ts';

/** A segment of which less than this share is alive is emptied. */
const LEAST_LIVE_SHARE = 0.6;
/** A segment that is still written to is left alone while it has less. */
const LEAST_SEALED_OCTETS = 8 * 1024 * 1024;
/** Bodies that are moved at a time. */
const BATCH_RECORDS = 64;
const BATCH_OCTETS = 4 * 1024 * 1024;

interface Parts {
  readonly files: StoreFiles;
  readonly log: MessageLog;
  readonly feed: IndexFeed;
}

/**
 * @param isThorough whether the segment that is being written to counts, too, however short it is
 * @throws StoreError
 */
export async function compactLog(parts: Parts, isThorough: boolean): Promise<void> {
  const { files, log, feed } = parts;
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
    .sort((one, other) => one.live - other.live);
  for (const { segment } of sparse) {
    await empty(parts, segment);
    // One at a time: what was moved takes room until the segment is gone.
    await removeDead(parts);
  }
}

async function removeDead(parts: Parts): Promise<void> {
  const { files, log, feed } = parts;
  await feed.flush();
  const after = await lookAtIndex(files);
  const dead = indexedSegments(log, after).filter(({ number }) => (after.live.get(number) ?? 0) <= 0);
  // Without power, the index may fall back to where it was durable: nothing that it led to there may be gone.
  if (dead.length === 0 || !(await files.checkpointObjects())) {
    return;
  }
  for (const { number } of dead) {
    await log.remove(number);
  }
  const list = JSON.stringify(dead.map(({ number }) => number));
  await files.write('objects', [['DELETE FROM segments WHERE id IN (SELECT value FROM json_each(?))', list]], 0);
}

interface IndexState {
  /** Up to where the index has the log. */
  readonly place: Place;
  /** Octets in each segment that entries lead to. */
  readonly live: ReadonlyMap<number, number>;
}

/** At one instant: a segment may come alive and be wholly in the index between two looks. */
async function lookAtIndex(files: StoreFiles): Promise<IndexState> {
  const rows = await files.read('objects', 'SELECT place, segments.id, live FROM progress LEFT JOIN segments');
  const live = rows.filter(({ id }) => id !== null).map(({ id, live: octets }) => [id, octets] as [number, number]);
  return { place: Number(rows[0]?.['place'] ?? 0), live: new Map(live) };
}

/** Segments that take no more records, and all of whose records are in the index. */
function indexedSegments(log: MessageLog, { place }: IndexState): Segment[] {
  const sealed = log.sealedSegments;
  const newest = sealed.at(-1)?.number;
  // Where another segment was begun, records end before the file does if the power failed.
  return sealed.filter(
    ({ number, octets }) => placeOf(number + 1, 0) <= place || (number === newest && placeOf(number, octets) <= place),
  );
}

async function empty(parts: Parts, segment: Segment): Promise<void> {
  let batch: LogRecord[] = [];
  let octets = 0;
  for (const record of parts.log.recordsOf(segment)) {
    batch.push(record);
    octets += record.bodyOctets;
    if (batch.length >= BATCH_RECORDS || octets >= BATCH_OCTETS) {
      await moveLive(parts, segment.number, batch);
      batch = [];
      octets = 0;
      await setImmediate();
    }
  }
  await moveLive(parts, segment.number, batch);
}

async function moveLive(parts: Parts, segment: number, records: readonly LogRecord[]): Promise<void> {
  await Promise.all(records.map((record) => moveIfLive(parts, segment, record)));
}

async function moveIfLive(
  { files, log, feed }: Parts,
  segment: number,
  { head, end, bodyOctets }: LogRecord,
): Promise<void> {
  if (head[0] === DELETE) {
    return;
  }
  const [, id, key, expiry, size, metadata, bodyChecksum, entryChecksum] = head;
  const place = placeOf(segment, end - bodyOctets);
  const isLive = async () => {
    const [row] = await files.read('objects', 'SELECT place FROM entries WHERE id = ? AND key = ?', id, key);
    return row?.['place'] === place && !feed.isChanging(key);
  };
  if (!(await isLive())) {
    return;
  }
  const body = await log.read(place, size);
  // What is damaged stays where it is, until somebody reads it.
  if (!body || body.length !== size || checksum(body) !== bodyChecksum || !(await isLive()) || feed.isChanging(key)) {
    return;
  }
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
