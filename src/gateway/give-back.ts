/**
 * Memory given back at once. Octets outside the heap wait for the garbage collector otherwise, which works the harder the
 * more of them there are: with cargo of 1 MiB it took more time than encryption.
 */

/** Below so many octets it is not worth it. */
const LEAST = 4096;

/** Memory that several share, with how many of them have not given it back. */
const shared = new WeakMap<ArrayBuffer, number>();

/**
 * Frees octets that nobody uses any more, once: whoever still reads them finds none. Those that share memory stay until
 * all that was told of have been given back.
 */
export function giveBack(octets: Uint8Array): void {
  const { buffer } = octets;
  if (!(buffer instanceof ArrayBuffer)) {
    return;
  }
  const users = shared.get(buffer) ?? 0;
  if (users > 1) {
    shared.set(buffer, users - 1);
    return;
  }
  shared.delete(buffer);
  if (users === 1 || (octets.byteLength >= LEAST && buffer.byteLength === octets.byteLength)) {
    buffer.transfer(0);
  }
}

/** Tells of octets that have the same memory, and that nobody else has: it can be given back with the last of them. */
export function shareMemory(all: readonly Uint8Array[]): void {
  const uses = new Map<ArrayBuffer, { users: number; octets: number }>();
  for (const { buffer, byteLength } of all) {
    if (buffer instanceof ArrayBuffer && byteLength < buffer.byteLength) {
      const use = uses.get(buffer);
      if (use) {
        use.users++;
        use.octets += byteLength;
      } else {
        uses.set(buffer, { users: 1, octets: byteLength });
      }
    }
  }
  for (const [buffer, { users, octets }] of uses) {
    if (octets === buffer.byteLength) {
      shared.set(buffer, users);
    }
  }
}
