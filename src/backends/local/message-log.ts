/**
 * The log of messages: what was put and deleted, one record after the other, durable before it is acknowledged.
 *
 * All that waits is written with one call and shares a sync. Bodies are read from here; where they are is in the
 * index (`object-store.ts`). A segment is never changed; those without anything live are removed (`log-compaction.ts`).
 */
import { closeSync, fsyncSync, ftruncate, mkdirSync, openSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { type Random, StoreError } from '../../gateway/ports.ts';
import { syncData, writeDurably } from './durable-write.ts';
import {
  MARKER_OCTETS,
  type Place,
  placeOf,
  SEGMENT_HEADER_OCTETS,
  SEGMENT_MAGIC,
  segmentOf,
  writeRecordHead,
} from './log-records.ts';
import { readMarker } from './segment-reader.ts';
import { type Segment, Segments, segmentFile, segmentNumbers } from './segments.ts';
import { syncDirectory, whenDirectorySynced } from './sync-directory.ts';
import { VolumeRoom } from './volume-room.ts';

/** A segment takes no more records once it has so many octets. */
const SEGMENT_OCTETS = 32 * 1024 * 1024;
/** Bounds one write, so that an answer does not wait for everybody else's bodies. */
const BATCH_RECORDS = 500;
const BATCH_OCTETS = 4 * 1024 * 1024;
/** Left free on the volume beside a write: the index and its own log. */
const SLACK_OCTETS = 512 * 1024;
/** An idle log writes so many records at once, and need not wait until all that has come is looked at. */
const EAGER_RECORDS = 4;

const truncate = promisify(ftruncate);

/** What the log needs of the keeper of the volume's room, in the writer thread. */
export interface Room {
  readonly isReserveHeld: boolean;
  askRoom(octets: number): Promise<boolean>;
  releaseReserve(): Promise<void>;
}

interface Appended {
  readonly body?: Uint8Array;
  /** Only what takes room for long is refused on a full disk. */
  readonly takesRoom: boolean;
  readonly onWritten: (place: Place) => void;
}

interface Pending extends Required<Appended> {
  /** All of the record up to its body. */
  readonly head: Buffer;
  readonly octets: number;
  readonly resolve: () => void;
  readonly reject: (error: StoreError) => void;
}

export class MessageLog {
  private readonly directory: string;
  private readonly random: Random;
  private readonly room: Room;
  private readonly volume: VolumeRoom;
  /** What is written, to be read. */
  readonly segments: Segments;
  /** Segments that take no more records, by number, with their octets. */
  private readonly sealed = new Map<number, number>();
  /** The segment that is written to, if there is one yet. */
  private tail: { readonly number: number; readonly fd: number; readonly marker: Buffer; octets: number } | undefined;
  private lastNumber = 0;
  private pending: Pending[] = [];
  private isWriting = false;
  /** Somebody waits for the segment to be sealed. */
  private betweenWrites: PromiseWithResolvers<void> | undefined;
  private whenIdle: PromiseWithResolvers<void> | undefined;
  private isClosed = false;

  /** @param directory of the segments; made where there is none */
  constructor(directory: string, parts: { random: Random; room: Room }) {
    this.directory = directory;
    this.random = parts.random;
    this.room = parts.room;
    this.volume = new VolumeRoom(directory, SLACK_OCTETS);
    this.segments = new Segments(directory);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    syncDirectory(dirname(directory));
    for (const number of segmentNumbers(directory)) {
      this.sealed.set(number, statSync(segmentFile(directory, number)).size);
      this.lastNumber = number;
    }
    if (this.lastNumber > 0) {
      // A kill leaves what was not synced: the index must not be durable beyond it.
      const fd = openSync(segmentFile(directory, this.lastNumber), 'r');
      fsyncSync(fd);
      closeSync(fd);
      syncDirectory(directory);
    }
  }

  /** Segments that take no more records, oldest first. */
  get sealedSegments(): Segment[] {
    return [...this.sealed].map(([number, octets]) => ({ number, octets }));
  }

  /** The segment that is written to, if there is one yet. */
  get tailSegment(): Segment | undefined {
    return this.tail;
  }

  /** Octets of all segments. */
  get octets(): number {
    return [...this.sealed.values()].reduce((sum, octets) => sum + octets, this.tail?.octets ?? 0);
  }

  /**
   * Appends a record; durable when it resolves.
   *
   * @param body not copied: it must stay as it is until then
   * @param onWritten called with the place of the body when it is durable, in the order of the log
   * @throws StoreError
   */
  append(head: string, { body = new Uint8Array(), takesRoom, onWritten }: Appended): Promise<void> {
    if (this.isClosed) {
      return Promise.reject(new StoreError('STORE_AWAY', 'The store is closed'));
    }
    const beforeBody = writeRecordHead(head, body.length);
    const octets = beforeBody.length + body.length;
    return new Promise((resolve, reject) => {
      this.pending.push({ head: beforeBody, body, octets, takesRoom, onWritten, resolve, reject });
      if (!this.isWriting) {
        if (this.pending.length === 1) {
          setImmediate(() => this.writePending());
        } else if (this.pending.length === EAGER_RECORDS) {
          this.writePending();
        }
      }
    });
  }

  /** The records of all segments from a place on, as far as they are written now, oldest first. */
  records(from: Place, options?: Parameters<Segments['records']>[2]): ReturnType<Segments['records']> {
    return this.segments.records([...this.sealedSegments, ...(this.tail ? [this.tail] : [])], from, options);
  }

  /** The records of one segment; `from` is the octet to begin at. */
  recordsOf(
    segment: Segment,
    { from = 0, ...options }: Parameters<Segments['records']>[2] & { readonly from?: number } = {},
  ): ReturnType<Segments['records']> {
    return this.segments.records([segment], placeOf(segment.number, from), options);
  }

  /** Removes a sealed segment. Nobody may need what is in it. */
  async remove(segment: number): Promise<void> {
    this.sealed.delete(segment);
    await this.segments.remove(segment);
  }

  /**
   * Goes on in the last segment, where all of it could be read and there is room in it.
   *
   * @param indexed up to where the index has the log: segments may be gone, or octets, and nothing new may lie before it
   */
  resume(indexed: Place, isWhole: boolean): void {
    const octets = this.sealed.get(this.lastNumber);
    if (octets === undefined || placeOf(this.lastNumber, octets) < indexed) {
      this.lastNumber = Math.max(this.lastNumber, segmentOf(indexed));
      return;
    }
    if (!isWhole || octets >= SEGMENT_OCTETS) {
      return;
    }
    const fd = openSync(segmentFile(this.directory, this.lastNumber), 'r+');
    const marker = readMarker(fd);
    if (!marker) {
      closeSync(fd);
      return;
    }
    this.tail = { number: this.lastNumber, fd, marker, octets };
    this.sealed.delete(this.lastNumber);
  }

  /** Has what comes from now on go into another segment. */
  async seal(): Promise<void> {
    if (this.isWriting) {
      this.betweenWrites ??= Promise.withResolvers();
      await this.betweenWrites.promise;
    } else {
      this.sealTail();
    }
  }

  /** Ends when all is written. */
  async close(): Promise<void> {
    this.isClosed = true;
    await this.idle();
    this.sealTail();
    this.segments.close();
  }

  /** Nothing is being written when it resolves, and nothing waits to be. */
  private async idle(): Promise<void> {
    while (this.isWriting || this.pending.length > 0) {
      this.whenIdle ??= Promise.withResolvers();
      await this.whenIdle.promise;
    }
  }

  private writePending(): void {
    if (this.isWriting || this.pending.length === 0) {
      return;
    }
    this.isWriting = true;
    let octets = 0;
    let count = 0;
    for (const record of this.pending) {
      octets += record.octets;
      if (count > 0 && (octets > BATCH_OCTETS || count >= BATCH_RECORDS)) {
        break;
      }
      count++;
    }
    const batch = this.pending.splice(0, count);
    void this.writeBatch(batch).then(() => {
      this.isWriting = false;
      if (this.betweenWrites) {
        this.sealTail();
        this.betweenWrites.resolve();
        this.betweenWrites = undefined;
      }
      if (this.pending.length > 0) {
        this.writePending();
      } else {
        this.whenIdle?.resolve();
        this.whenIdle = undefined;
      }
    });
  }

  /** Never throws: whoever waits for a record is told. */
  private async writeBatch(batch: readonly Pending[]): Promise<void> {
    let left = batch;
    try {
      if (!(await this.hasRoomFor(left))) {
        left = refuse(left);
      }
      try {
        await this.writeAndTell(left);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') {
          throw error;
        }
        // What only deletes gets the room of the reserve.
        left = refuse(left);
        if (left.length > 0) {
          await this.room.releaseReserve();
          await this.writeAndTell(left);
        }
      }
    } catch (error) {
      const message = `The log of messages cannot be written: ${(error as Error).message}`;
      for (const { reject } of left) {
        reject(new StoreError('STORE_AWAY', message, { cause: error }));
      }
    }
  }

  private async writeAndTell(batch: readonly Pending[]): Promise<void> {
    if (batch.length === 0) {
      return;
    }
    const start = await this.write(batch);
    const { number } = this.tail as { number: number };
    for (let index = 0, offset = start; index < batch.length; index++) {
      const { head, octets, onWritten } = batch[index] as Pending;
      onWritten(placeOf(number, offset + head.length));
      offset += octets;
    }
    for (const { resolve } of batch) {
      resolve();
    }
  }

  private async hasRoomFor(batch: readonly Pending[]): Promise<boolean> {
    let growth = 0;
    for (const { octets, takesRoom } of batch) {
      growth += takesRoom ? octets : 0;
    }
    if (growth === 0) {
      return true;
    }
    if (!this.room.isReserveHeld) {
      return this.room.askRoom(growth);
    }
    return this.volume.take(growth);
  }

  /** @returns where the batch begins in the segment that is written to */
  private async write(batch: readonly Pending[]): Promise<number> {
    const tail = this.tail && this.tail.octets < SEGMENT_OCTETS ? this.tail : await this.newTail();
    const start = tail.octets;
    const pieces: Uint8Array[] = [];
    let end = start;
    for (const { head, body, octets } of batch) {
      head.set(tail.marker, 0);
      pieces.push(head, body);
      end += octets;
    }
    try {
      await writeDurably(tail.fd, pieces, end - start, start);
    } catch (error) {
      // Whether any of it is on the disk is not known, so nothing may follow it.
      await this.abandonTail();
      throw error;
    }
    tail.octets = end;
    return start;
  }

  /** The main thread does not wait for the disk: that may take a tenth of a second. */
  private async newTail(): Promise<NonNullable<MessageLog['tail']>> {
    this.sealTail();
    const number = this.lastNumber + 1;
    const file = segmentFile(this.directory, number);
    const fd = openSync(file, 'wx+', 0o600);
    // Also where it cannot be removed below: the next one is made beside it.
    this.lastNumber = number;
    const marker = this.random(MARKER_OCTETS);
    try {
      await writeDurably(fd, [SEGMENT_MAGIC, marker], SEGMENT_HEADER_OCTETS, 0);
      await whenDirectorySynced(this.directory);
    } catch (error) {
      closeSync(fd);
      rmSync(file, { force: true });
      this.lastNumber = number - 1;
      throw error;
    }
    this.tail = { number, fd, marker, octets: SEGMENT_HEADER_OCTETS };
    return this.tail;
  }

  private sealTail(): void {
    const { tail } = this;
    if (tail) {
      // First: its number may be given to another file, even where closing fails.
      this.tail = undefined;
      this.sealed.set(tail.number, tail.octets);
      try {
        closeSync(tail.fd);
      } catch {
        // It is closed all the same, and all that counts in it was synced.
      }
    }
  }

  private async abandonTail(): Promise<void> {
    if (!this.tail) {
      return;
    }
    try {
      await truncate(this.tail.fd, this.tail.octets);
      await syncData(this.tail.fd);
    } catch {
      // What was refused may come back at the next start, as a parcel that is delivered after all.
    }
    this.sealTail();
  }
}

/** Tells those that need room that there is none. @returns the others */
function refuse(batch: readonly Pending[]): Pending[] {
  const full = new StoreError('STORE_FULL', 'The volume of the data directory is full');
  for (const { takesRoom, reject } of batch) {
    if (takesRoom) {
      reject(full);
    }
  }
  return batch.filter(({ takesRoom }) => !takesRoom);
}
