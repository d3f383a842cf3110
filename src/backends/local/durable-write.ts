/**
 * Writes octets to a file and waits until they would survive a power failure.
 */
import { fdatasync, writev, writevSync } from 'node:fs';

/** Writes up to this size go into the system's memory at once, in some microseconds; handing them to a thread costs more. */
const WRITE_AT_ONCE_OCTETS = 128 * 1024;

/**
 * Resolves after `fdatasync`.
 *
 * @param pieces not copied
 * @param octets of all pieces
 * @throws Error of the system; how much of it is on the disk then is not known
 */
export async function writeDurably(
  fd: number,
  pieces: readonly Uint8Array[],
  octets: number,
  position: number,
): Promise<void> {
  if (octets <= WRITE_AT_ONCE_OCTETS) {
    writeAtOnce(fd, pieces, position);
  } else {
    await writeAll(fd, pieces, position);
  }
  await syncData(fd);
}

function writeAtOnce(fd: number, pieces: readonly Uint8Array[], position: number): void {
  for (let rest = pieces, at = position; rest.length > 0; ) {
    const written = writevSync(fd, rest as Uint8Array[], at);
    rest = restOf(rest, written);
    at += written;
  }
}

function writeAll(fd: number, pieces: readonly Uint8Array[], position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    writev(fd, pieces as Uint8Array[], position, (error, written) => {
      if (error) {
        reject(error);
        return;
      }
      const rest = restOf(pieces, written);
      resolve(rest.length === 0 ? undefined : writeAll(fd, rest, position + written));
    });
  });
}

/** A disk that fills up may take a part only; the next write then says so. */
function restOf(pieces: readonly Uint8Array[], written: number): Uint8Array[] {
  let left = written;
  const rest: Uint8Array[] = [];
  for (const piece of pieces) {
    if (left >= piece.length) {
      left -= piece.length;
    } else {
      rest.push(piece.subarray(left));
      left = 0;
    }
  }
  return rest;
}

/** @throws Error of the system; whether any of it is on the disk then is not known */
export function syncData(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())));
}
