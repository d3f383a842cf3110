/**
 * Makes a damaged row of the index of messages anew from the log: from the record that it was made from.
 */

import { setImmediate } from 'node:timers/promises';
import { StoreError } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import { DELETE, type Head, type ObjectHead, type Place, placeOf } from './log-records.ts';
import type { MessageLog } from './message-log.ts';
import { type Located, locatedOfRow } from './object-rows.ts';
import { isDiskError } from './segment-reader.ts';
import type { StoreFiles, StoreLog } from './store-files.ts';

/** Its place may be another one since, where it was moved meanwhile. */
const MEND = `
  UPDATE OR IGNORE entries SET key = ?1, expiry = ?2, size = ?3, metadata = ?4, body_checksum = ?5, checksum = ?6,
    place = CASE WHEN place IS ?7 THEN ?8 ELSE place END
  WHERE id = ?9`;

export class RowMending {
  private readonly files: StoreFiles;
  private readonly log: MessageLog;
  private readonly report: StoreLog;

  constructor(parts: { files: StoreFiles; log: MessageLog; report: StoreLog }) {
    this.files = parts.files;
    this.log = parts.log;
    this.report = parts.report;
  }

  /**
   * @param id of the row
   * @param place as the row has it; it may be damaged, too
   * @returns where the object is; undefined where its record is damaged as well, or is not there
   * @throws StoreError
   */
  async mend(id: number, place: Place | null): Promise<Located | undefined> {
    const head = place === null ? undefined : this.log.segments.headAt(place);
    const found = place !== null && isOf(head, id) ? { head, place } : await this.search(id);
    if (!found || !(await this.hasBody(found))) {
      return undefined;
    }
    const [, , key, expiry, size, metadata, bodyChecksum, entryChecksum] = found.head;
    const columns = [key, expiry, size, metadata, bodyChecksum, entryChecksum] as const;
    if ((await this.files.write('objects', [[MEND, ...columns, place, found.place, id]], 0)) === 0) {
      return undefined;
    }
    this.report.warn({ key }, 'A damaged entry of the index was made anew from the log of messages');
    return locatedOfRow([id, ...columns, found.place]);
  }

  /** All of the log is gone through: its place is all that tells where a record is. */
  private async search(id: number): Promise<{ head: ObjectHead; place: Place } | undefined> {
    let found: { head: ObjectHead; place: Place } | undefined;
    for (const record of this.log.records(0)) {
      if (!record) {
        await setImmediate();
      } else if (isOf(record.head, id)) {
        found = { head: record.head, place: placeOf(record.segment, record.end - record.bodyOctets) };
      }
    }
    return found;
  }

  /** Also where it cannot be read now: it may be another time. */
  private async hasBody({ head, place }: { head: ObjectHead; place: Place }): Promise<boolean> {
    const [, , , , size, , bodyChecksum] = head;
    try {
      const body = await this.log.segments.read(place, size);
      return body?.length === size && checksum(body) === bodyChecksum;
    } catch (error) {
      if (error instanceof StoreError && isDiskError(error.cause)) {
        return true;
      }
      throw error;
    }
  }
}

function isOf(head: Head | undefined, id: number): head is ObjectHead {
  return head !== undefined && head[0] !== DELETE && head[1] === id;
}
