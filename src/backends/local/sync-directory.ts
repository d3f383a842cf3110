/** Makes what was done in a folder as durable as what was done in its files. */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';

/** Has the names in a directory survive a power failure: files that were made, renamed or removed there. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** As `syncDirectory`, without having the thread wait. */
export async function whenDirectorySynced(path: string): Promise<void> {
  await using directory = await open(path, 'r');
  await directory.sync();
}
