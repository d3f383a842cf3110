/** The contents octets of primitive ASN.1 types (X.690, section 8). */
import { malformed } from './malformed.ts';

/** The longest OBJECT IDENTIFIER, in octets; the protocol's longest has 11. */
const MAX_OID_LENGTH = 32;

/** Arcs of an OBJECT IDENTIFIER stay below this, so that numbers hold them exactly. */
const MAX_OID_ARC = 2 ** 46;

/**
 * An OBJECT IDENTIFIER in dotted form.
 *
 * @param content its contents octets
 * @param offset of the element in its document, for the error
 * @throws AwalaError ASN1_MALFORMED
 */
export function readArcs(content: Buffer, offset: number): string {
  if (content.length === 0 || content.length > MAX_OID_LENGTH) {
    throw malformed(offset, 'OBJECT IDENTIFIER has no octets or too many');
  }
  let dotted = '';
  let arc = 0;
  for (const [at, octet] of content.entries()) {
    if (arc === 0 && octet === 0x80) {
      throw malformed(offset, 'OBJECT IDENTIFIER has a padded arc');
    }
    arc = arc * 128 + (octet & 0x7f);
    if (arc >= MAX_OID_ARC) {
      throw malformed(offset, 'OBJECT IDENTIFIER has too large an arc');
    }
    if (octet < 0x80) {
      dotted += dotted === '' ? firstArcs(arc) : `.${arc}`;
      arc = 0;
    } else if (at === content.length - 1) {
      throw malformed(offset, 'OBJECT IDENTIFIER is cut short');
    }
  }
  return dotted;
}

/** The first two arcs, which share a number (X.690, 8.19.4). */
function firstArcs(arc: number): string {
  const first = Math.min(Math.floor(arc / 40), 2);
  return `${first}.${arc - first * 40}`;
}

/** The contents octets of an INTEGER (at least one) in the shortest form: a view. */
export function shortestInteger(content: Buffer): Buffer {
  let at = 0;
  while (at + 1 < content.length && isRedundant(content[at] as number, content[at + 1] as number)) {
    at++;
  }
  return content.subarray(at);
}

/** Whether the first of two octets only repeats the sign of the second. */
function isRedundant(first: number, second: number): boolean {
  return (first === 0 && second < 0x80) || (first === 0xff && second >= 0x80);
}
