/** What is asked of the index of messages, in SQL. */
import { READ_TOGETHER } from './objects-together.ts';

/** Entries a page of a list: read in well under a millisecond. */
export const PAGE_ENTRIES = 256;
/** How many expired entries are found at a time. */
const EXPIRED_BATCH = 256;

const COLUMNS = 'id, key, expiry, size, metadata, body_checksum, checksum, place';

/** Without a look into the index of keys, which are in no order: ids are in that of arrival. */
export const PLACE_OF_VERSION = 'SELECT place, body_checksum FROM entries WHERE id = ? AND key = ?';
export const PLACES_OF_VERSIONS = `
  SELECT id, place, body_checksum FROM entries WHERE id IN (${Array(READ_TOGETHER).fill('?').join(', ')})`;
export const ENTRY = `SELECT ${COLUMNS} FROM entries WHERE key = ?`;
export const ENTRIES = `SELECT ${COLUMNS} FROM entries WHERE key IN (SELECT value FROM json_each(?))`;
export const FIRST_PAGE = `SELECT ${COLUMNS} FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ${PAGE_ENTRIES}`;
export const NEXT_PAGE = `SELECT ${COLUMNS} FROM entries WHERE key > ? AND key < ? ORDER BY key LIMIT ${PAGE_ENTRIES}`;

export const EXPIRED = `SELECT id, size, place FROM entries WHERE expiry < ? ORDER BY expiry LIMIT ${EXPIRED_BATCH}`;
