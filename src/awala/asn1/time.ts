/**
 * Dates in ASN.1, as milliseconds since 1970.
 */
import { AwalaError } from '../errors.ts';
import type { BerElement } from './reader.ts';
import { Tag } from './tags.ts';

const ZERO = 0x30;

/**
 * Reads a certificate's UTCTime (`YYMMDDHHMMSSZ`, years 1950 to 2049) or GeneralizedTime (`YYYYMMDDHHMMSSZ`), the
 * forms that RFC 5280, section 4.1.2.5 allows.
 *
 * @throws AwalaError ASN1_MALFORMED
 */
export function readTime(element: BerElement): number {
  const { content } = element;
  if (element.tag === Tag.UTC_TIME && content.length === 13 && content[12] === 0x5a) {
    const year = digits(content, 0, 2);
    return instant(content, year < 50 ? 2000 + year : 1900 + year, 2);
  }
  if (element.tag === Tag.GENERALIZED_TIME && content.length === 15 && content[14] === 0x5a) {
    return instant(content, digits(content, 0, 4), 4);
  }
  throw notADate();
}

/**
 * Reads the protocol's DATE-TIME (RS-001): `YYYYMMDDHHMMSS` in UTC, no `Z`, whatever its tag.
 *
 * @throws AwalaError ASN1_MALFORMED
 */
export function readDateTime(element: BerElement): number {
  const content = element.octets();
  if (content.length !== 14) {
    throw notADate();
  }
  return instant(content, digits(content, 0, 4), 4);
}

/** The instant whose month and the rest start at `at`: `MMDDHHMMSS`. */
function instant(content: Buffer, year: number, at: number): number {
  const month = digits(content, at, 2);
  const day = digits(content, at + 2, 2);
  const hour = digits(content, at + 4, 2);
  const minute = digits(content, at + 6, 2);
  const second = digits(content, at + 8, 2);
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  // Days such as 31 April would silently become another date, and years below 100 another century.
  const isReal = month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month) && year >= 100;
  if (!isReal || hour > 23 || minute > 59 || second > 59) {
    throw notADate();
  }
  return time;
}

function daysIn(year: number, month: number): number {
  if (month === 2) {
    return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  }
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function digits(content: Buffer, at: number, count: number): number {
  let value = 0;
  for (let i = at; i < at + count; i++) {
    const digit = (content[i] as number) - ZERO;
    if (!(digit >= 0 && digit <= 9)) {
      throw notADate();
    }
    value = value * 10 + digit;
  }
  return value;
}

function notADate(): AwalaError {
  return new AwalaError('ASN1_MALFORMED', 'date is not in the form that the protocol uses');
}
