/**
 * Memory given back at once. Octets outside the heap wait for the garbage collector otherwise, which works the harder the
 * more of them there are: with cargo of 1 MiB it took more time than encryption.
 */

/** Below so many octets it is not worth it. */
const LEAST = 4096;

/** Frees octets that nobody uses any more: whoever still reads them finds none. Those that share memory stay. */
export function giveBack(octets: Uint8Array): void {
  const { buffer } = octets;
  if (octets.byteLength >= LEAST && buffer instanceof ArrayBuffer && buffer.byteLength === octets.byteLength) {
    buffer.transfer(0);
  }
}
