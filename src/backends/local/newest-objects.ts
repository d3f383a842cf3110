/** What was put last, found by the order of arrival: what was put before costs nothing. */
import { setImmediate } from 'node:timers/promises';
import type { StoreFiles } from './store-files.ts';
import { msToTicks } from './ticks.ts';

/** Entries that are looked at at once. */
const PAGE = 1000;

/**
 * Keys with this prefix that were put within so many milliseconds before the last put of all, oldest first, as far as they
 * are in the index of messages.
 *
 * @throws StoreError
 */
export async function* newestKeys(files: StoreFiles, prefix: string, period: number): AsyncGenerator<string> {
  const [newest] = await files.read('objects', 'SELECT max(id) AS id FROM entries');
  for (let after = Number(newest?.['id'] ?? 0) - msToTicks(period); ; ) {
    const page = await files.read(
      'objects',
      `SELECT id, key FROM entries WHERE id > ? ORDER BY id LIMIT ${PAGE}`,
      after,
    );
    for (const { key } of page) {
      if ((key as string).startsWith(prefix)) {
        yield key as string;
      }
    }
    if (page.length < PAGE) {
      return;
    }
    after = page.at(-1)?.['id'] as number;
    await setImmediate();
  }
}
