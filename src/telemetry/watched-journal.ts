/** A journal whose entries are also told to whoever counts or traces them, at the moment when they are made. */
import type { Journal, JournalEntry } from '../gateway/ports.ts';

/** Never throws and never waits. */
export type OnEntry = (entry: JournalEntry) => void;

/**
 * The same journal, watched. What has no id that anybody could ask for is told and not kept: a flood of rubbish would
 * only make other refusals forgotten.
 */
export function watchedJournal(journal: Journal, listeners: readonly OnEntry[]): Journal {
  return {
    record(entry) {
      if (entry.parcel !== undefined) {
        journal.record(entry);
      }
      for (const listener of listeners) {
        listener(entry);
      }
    },
    find: (id) => journal.find(id),
  };
}
