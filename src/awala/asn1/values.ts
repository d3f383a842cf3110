/**
 * Reads the values of the protocol's simple types, whatever tag they stand under.
 */
import { AwalaError, type AwalaErrorCode } from '../errors.ts';
import type { BerElement } from './reader.ts';

const DATE_TIME = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})$/;

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
  if (octets.some((octet) => octet < 0x20 || octet > 0x7e)) {
    throw new AwalaError('ASN1_MALFORMED', 'String has characters that VisibleString does not');
  }
  return octets.toString('latin1');
}

/**
 * The protocol's DATE-TIME (RS-001, protocol section 3): 14 digits, UTC.
 *
 * @returns milliseconds since the epoch
 * @throws AwalaError ASN1_MALFORMED
 */
export function readDateTime(element: BerElement): number {
  const digits = readVisibleString(element, 14);
  const [, year, month, day, hour, minute, second] = DATE_TIME.exec(digits) ?? [];
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const date = new Date(iso);
  // Dates that do not exist are either invalid or, like 31 February, another day's.
  if (Number.isNaN(date.getTime()) || date.toISOString() !== iso) {
    throw new AwalaError('ASN1_MALFORMED', `"${digits}" is not a DATE-TIME`);
  }
  return date.getTime();
}

/**
 * Runs `read` and gives what its ASN.1 is refused for the code of the message that it is part of.
 *
 * @param what the message, to begin the reason with
 */
export function readAs<Value>(code: AwalaErrorCode, what: string, read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    if (error instanceof AwalaError && (error.code === 'ASN1_MALFORMED' || error.code === 'ASN1_TOO_COMPLEX')) {
      throw new AwalaError(code, `${what} is malformed: ${error.message}`, { cause: error });
    }
    throw error;
  }
}
