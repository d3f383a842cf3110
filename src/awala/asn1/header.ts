/** Headers of BER elements: an identifier octet and a length (X.690, 8.1). */
import { malformed } from './malformed.ts';
import { CONSTRUCTED } from './tags.ts';

/** Stands for a length that is told by a marker at the end of the contents. */
export const INDEFINITE = -1;

/**
 * Checks the header at `start` and says where it ends, so where the contents start.
 *
 * @param limit where the element must end at the latest
 * @throws AwalaError ASN1_MALFORMED
 */
export function headerEnd(bytes: Buffer, start: number, limit: number): number {
  const end = Math.min(limit, bytes.length);
  if (start + 2 > end) {
    throw malformed(start, 'header is cut short');
  }
  const tag = bytes[start] as number;
  if ((tag & 0x1f) === 0x1f) {
    throw malformed(start, 'tag numbers over 30 are not used by the protocol');
  }
  const first = bytes[start + 1] as number;
  if (first < 0x80) {
    return start + 2;
  }
  if (first === 0x80) {
    if ((tag & CONSTRUCTED) === 0) {
      throw malformed(start, 'primitive element has an indefinite length');
    }
    return start + 2;
  }
  const octets = first & 0x7f;
  if (octets > 4) {
    throw malformed(start, 'length takes more than 4 octets');
  }
  const contentStart = start + 2 + octets;
  if (contentStart > end) {
    throw malformed(start, 'header is cut short');
  }
  return contentStart;
}

/** The length of the contents that the (already checked) header tells, in octets, or `INDEFINITE`. */
export function headerLength(bytes: Buffer, start: number, contentStart: number): number {
  const first = bytes[start + 1] as number;
  if (first < 0x80) {
    return first;
  }
  if (first === 0x80) {
    return INDEFINITE;
  }
  let length = 0;
  for (let at = start + 2; at < contentStart; at++) {
    length = length * 256 + (bytes[at] as number);
  }
  return length;
}
