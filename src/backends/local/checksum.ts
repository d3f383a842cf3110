/**
 * Checksums by which the store notices that the disk gave back other octets than it was given.
 */

import { crc32 } from 'node:zlib';

/** CRC-32 of the parts, each kept apart from the next, so that no field can pass for a piece of its neighbour. */
export function checksum(...parts: readonly (string | number | null | Uint8Array)[]): number {
  let crc = 0;
  // Neighbours go together: a call costs as much as some hundred octets.
  let text = '';
  for (const part of parts) {
    if (part instanceof Uint8Array) {
      crc = crc32(part, text === '' ? crc : crc32(text, crc));
      text = '\0';
    } else {
      text += `${part}\0`;
    }
  }
  return crc32(text, crc);
}
