/**
 * Reads the text of the protocol's strings, whatever tag they stand under.
 */
import { AwalaError } from '../errors.ts';
import type { BerElement } from './reader.ts';

/**
 * A VisibleString: ASCII from space to tilde.
 *
 * @param limit the most characters
 * @throws AwalaError ASN1_MALFORMED
 */
export function readVisibleString(element: BerElement, limit: number): string {
  if (element.contentLength > limit && !element.isConstructed) {
    throw new AwalaError('ASN1_MALFORMED', `String is longer than ${limit} characters`);
  }
  const octets = element.octets();
  if (octets.length > limit) {
    throw new AwalaError('ASN1_MALFORMED', `String is longer than ${limit} characters`);
  }
  const text = octets.toString('latin1');
  if (!/^[ -~]*$/.test(text)) {
    throw new AwalaError('ASN1_MALFORMED', 'String has characters that VisibleString does not');
  }
  return text;
}
