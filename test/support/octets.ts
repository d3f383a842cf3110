/**
 * Octets in the forms that tests compare and hand over.
 */

/** A copy as the ArrayBuffer that the official JavaScript library takes. */
export function arrayBuffer(octets: Uint8Array): ArrayBuffer {
  return Uint8Array.from(octets).buffer;
}

/** A copy with the bits of one octet changed. */
export function withChangedOctet(octets: Buffer, position: number, bits = 0xff): Buffer {
  const changed = Buffer.from(octets);
  changed[position] = (changed[position] as number) ^ bits;
  return changed;
}
