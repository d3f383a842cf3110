/**
 * Writes octets to a file and waits until they would survive a power failure.
 */
import { fdatasync, writev, writevSync } from 'node:fs';

/** Writes up to this size go into the system's memory at once, in some microseconds; handing them to a thread costs more. */
const WRITE_AT_ONCE_OCTETS = 128 * 1024;

/** Resolves after `fdatasync`. @throws Error of the system; how much of it is on the disk then is not known */
export async function writeDurably(fd: number, buffers: readonly Buffer[], position: number): Promise<void> {
  const octets = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  if (octets <= WRITE_AT_ONCE_OCTETS) {
    writeAtOnce(fd, buffers, position);
  } else {
    await writeAll(fd, buffers, position);
  }
  await syncData(fd);
}

function writeAtOnce(fd: number, buffers: readonly Buffer[], position: number): void {
  for (let rest = buffers, at = position; rest.length > 0; ) {
    const written = writevSync(fd, rest as Buffer[], at);
    rest = restOf(rest, written);
    at += written;
  }
}

function writeAll(fd: number, buffers: readonly Buffer[], position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    writev(fd, buffers as Buffer[], position, (error, written) => {
      if (error) {
        reject(error);
        return;
      }
      const rest = restOf(buffers, written);
      resolve(rest.length === 0 ? undefined : writeAll(fd, rest, position + written));
    });
  });
}

/** A disk that fills up may take a part only; the next write then says so. */
function restOf(buffers: readonly Buffer[], written: number): Buffer[] {
  let left = written;
  const rest: Buffer[] = [];
  for (const buffer of buffers) {
    if (left >= buffer.length) {
      left -= buffer.length;
    } else {
      rest.push(buffer.subarray(left));
      left = 0;
    }
  }
  return rest;
}

function syncData(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fdatasync(fd, (error) => (error ? reject(error) : resolve())));
}
