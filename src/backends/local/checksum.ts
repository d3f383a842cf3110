/**
 * Checksums by which the store notices that the disk gave back other octets than it was given.
 */

import { crc32 } from 'node:zlib';

/** CRC-32 of the parts, each kept apart from the next, so that no field can pass for a piece of its neighbour. */
export function checksum(...parts: readonly (string | number | null | Uint8Array)[]): number {
  let crc = 0;
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      crc = crc32(part, crc);
    } else {
      crc = crc32(`${part}`, crc);
    }
    crc = crc32('\0', crc);
  }
  return crc;
}
