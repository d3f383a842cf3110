/** Makes what was done in a folder as durable as what was done in its files. */
import { closeSync, fsyncSync, openSync } from 'node:fs';

/** Has the names in a directory survive a power failure: files that were made, renamed or removed there. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
