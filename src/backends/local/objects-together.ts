/** Objects that are read together: small bodies that lie beside each other in the log of messages, with one read. */
import type { ObjectEntry, StoredObject } from '../../gateway/ports.ts';
import { checksum } from './checksum.ts';
import type { Place } from './log-records.ts';
import type { MessageLog } from './message-log.ts';

/** How many bodies are read into one piece of memory, and up to how many octets each. */
export const READ_TOGETHER = 32;
export const MOST_READ_TOGETHER = 64 * 1024;

/** An object, and where its body is. */
export interface Located {
  readonly entry: ObjectEntry;
  readonly id: number;
  /** Null where the body is in the index's file: it was put under the former format. */
  readonly place: Place | null;
  readonly bodyChecksum: number;
}

/**
 * Those whose bodies are small and undamaged and where they were said to be.
 *
 * @throws StoreError
 */
export function readBodies(
  log: MessageLog,
  located: readonly Pick<Located, 'entry' | 'place' | 'bodyChecksum'>[],
): StoredObject[] {
  const small = located.flatMap(({ entry, place, bodyChecksum }) =>
    place !== null && entry.size <= MOST_READ_TOGETHER ? [{ entry, place, octets: entry.size, bodyChecksum }] : [],
  );
  const found: StoredObject[] = [];
  for (let start = 0; start < small.length; start += READ_TOGETHER) {
    const page = small.slice(start, start + READ_TOGETHER);
    const bodies = log.readTogether(page);
    for (const [index, { entry, bodyChecksum }] of page.entries()) {
      const body = bodies[index];
      if (body?.length === entry.size && checksum(body) === bodyChecksum) {
        found.push({ ...entry, body });
      }
    }
  }
  return found;
}
