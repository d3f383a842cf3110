/** How the ASN.1 reader says what is wrong, and where. */
import { AwalaError } from '../errors.ts';

/** @param offset of the element that is wrong, in octets from the start of the document */
export function malformed(offset: number, reason: string): AwalaError {
  return new AwalaError('ASN1_MALFORMED', `ASN.1 at octet ${offset}: ${reason}`);
}

/** An identifier octet for people; -1 is none. */
export function hex(tag: number): string {
  return tag < 0 ? 'none' : tag.toString(16).padStart(2, '0');
}
