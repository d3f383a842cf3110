/**
 * Brings the index of objects up to the log of messages, in the writer thread.
 *
 * Many changes go into one transaction, and what was put and deleted within them never touches the index: a message that
 * is collected as soon as it came costs the log alone.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { DELETE, type DeleteHead, MOVE, type ObjectHead, type Place, segmentOf } from './log-records.ts';

import { RECORD_OCTETS } from './schema.ts';

/** Heads as they are in the log; those of bodies are followed by the body's place. */
export type PlacedHead = readonly [...ObjectHead, place: Place] | DeleteHead;

/** What is to become of a key. */
interface Outcome {
  readonly key: string;
  /** Versions up to this one go. */
  upTo: number;
  put: readonly [...ObjectHead, place: Place] | undefined;
}

export class ObjectIndex {
  private readonly deleteVersion: StatementSync;
  private readonly deleteUpTo: StatementSync;
  private readonly insert: StatementSync;
  private readonly move: StatementSync;
  private readonly placeOfVersion: StatementSync;
  private readonly newer: StatementSync;
  private readonly addLive: StatementSync;
  private readonly goOn: StatementSync;
  private readonly begin: StatementSync;

  constructor(database: DatabaseSync) {
    // By their ids alone: a key may be damaged, and what was deleted must not come back when it is mended.
    this.deleteVersion = database.prepare('DELETE FROM entries WHERE id = ?');
    this.deleteUpTo = database.prepare('DELETE FROM entries WHERE key = ? AND id <= ?');
    // Where there is a newer version, it stays: after a repair the log is gone through once more.
    this.insert = database.prepare(
      `INSERT OR IGNORE INTO entries (id, key, expiry, size, metadata, body_checksum, checksum, place)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    );
    this.placeOfVersion = database.prepare('SELECT place FROM entries WHERE id = ?');
    this.move = database.prepare('UPDATE entries SET place = ? WHERE id = ?');
    this.newer = database.prepare('SELECT 1 FROM entries WHERE key = ? AND id > ?');
    this.addLive = database.prepare(
      'INSERT INTO segments (id, live) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET live = live + ?2',
    );
    this.goOn = database.prepare('UPDATE progress SET place = max(place, ?), last = max(last, ?)');
    this.begin = database.prepare('INSERT OR IGNORE INTO progress (id, place, last) VALUES (1, 0, 0)');
  }

  /**
   * Applies changes in their order, within a transaction of the caller's.
   *
   * @param heads JSON of an array of `PlacedHead`
   * @param end the place up to which the log is in the index then; absent while it is gone through for entries that are missing
   * @param isRebuilt whether entries may be missing that should be there: a body that was moved brings its own back
   */
  apply(heads: string, end: Place | undefined, isRebuilt: boolean): void {
    const outcomes = new Map<string, Outcome>();
    const live = new Map<number, number>();
    const ended = new Set<number>();
    let last = 0;
    for (const head of JSON.parse(heads) as PlacedHead[]) {
      const [kind, id, key] = head;
      last = Math.max(last, id);
      const outcome = outcomes.get(key);
      if (kind === DELETE) {
        ended.add(id);
        if (outcome?.put?.[1] === id) {
          outcome.put = undefined;
        } else {
          this.deleteVersion.run(id);
        }
      } else if (
        kind === MOVE &&
        (this.applyMove(head) || !isRebuilt || ended.has(id) || this.isPast(outcome, id, key))
      ) {
        // Done, or the object is gone.
      } else if (outcome) {
        outcome.put = head;
        outcome.upTo = id;
      } else {
        outcomes.set(key, { key, upTo: id, put: head });
      }
    }
    for (const { key, upTo, put } of outcomes.values()) {
      this.deleteUpTo.run(key, put ? upTo - 1 : upTo);
      if (put) {
        const [, id, , expiry, size, metadata, bodyChecksum, checksum, place] = put;
        if (this.insert.run(id, key, expiry, size, metadata, bodyChecksum, checksum, place).changes > 0) {
          add(live, segmentOf(place), octetsInLog(put));
        }
      }
    }
    for (const [segment, octets] of live) {
      this.addLive.run(segment, octets);
    }
    if (isRebuilt && end !== undefined) {
      this.begin.run();
    }
    // Nothing to go on from means that entries are missing: the next start must not think otherwise.
    this.goOn.run(end ?? 0, last);
  }

  /** Whether the key has a newer version than one that was moved: the move may have been written behind its put. */
  private isPast(outcome: Outcome | undefined, id: number, key: string): boolean {
    return outcome ? outcome.upTo > id : this.newer.get(key, id) !== undefined;
  }

  /** @returns whether there is such an object */
  private applyMove(head: readonly [...ObjectHead, place: Place]): boolean {
    const [, id] = head;
    const place = head[8];
    const before = this.placeOfVersion.get(id)?.['place'];
    if (before === undefined) {
      return false;
    }
    this.move.run(place, id);
    // At once: what is deleted in this very transaction is taken off again by a trigger.
    this.addLive.run(segmentOf(place), octetsInLog(head));
    if (before !== null) {
      this.addLive.run(segmentOf(before as number), -octetsInLog(head));
    }
    return true;
  }
}

/** As a trigger takes it off again (`octetsInLog` in `schema.ts`). */
function octetsInLog([, , key, , size, metadata]: readonly [...ObjectHead, place: Place]): number {
  return size + key.length + Buffer.byteLength(metadata) + RECORD_OCTETS;
}

function add(amounts: Map<number, number>, segment: number, octets: number): void {
  amounts.set(segment, (amounts.get(segment) ?? 0) + octets);
}
