/** What is asked of the index of messages, in SQL. */
import { ENTRY_COLUMNS } from './object-rows.ts';

/** Entries a page of a list: read in well under a millisecond. */
export const PAGE_ENTRIES = 256;

/** Without a look into the index of keys, which are in no order: ids are in that of arrival. */
export const PLACE_OF_VERSION = 'SELECT place, body_checksum FROM entries WHERE id = ? AND key = ?';
export const ENTRY = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key = ?`;
export const FIRST_PAGE = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ${PAGE_ENTRIES}`;
export const NEXT_PAGE = `SELECT ${ENTRY_COLUMNS} FROM entries WHERE key > ? AND key < ? ORDER BY key LIMIT ${PAGE_ENTRIES}`;
