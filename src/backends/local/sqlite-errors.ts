/**
 * What SQLite's result codes mean to the stores.
 */

/** Why SQLite refused: no room, damaged pages, or anything else. */
export type SqliteFault = 'full' | 'damaged' | 'other';

const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;
/** Extended code: the file of shared memory beside the log could not grow. */
const SQLITE_IOERR_SHMSIZE = 4874;

/** @param error as `node:sqlite` throws it, with SQLite's extended code in `errcode` */
export function sqliteFault(error: unknown): SqliteFault {
  const errcode = (error as { errcode?: unknown } | undefined)?.errcode;
  if (typeof errcode !== 'number') {
    return 'other';
  }
  if (errcode === SQLITE_IOERR_SHMSIZE) {
    return 'full';
  }
  switch (errcode & 0xff) {
    case SQLITE_FULL:
      return 'full';
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return 'damaged';
    default:
      return 'other';
  }
}
