/**
 * Writes DER (X.690): definite lengths in their shortest form, primitive strings.
 *
 * Every function gives one whole element; constructed ones take their finished elements in order.
 */
import { AwalaError } from '../errors.ts';
import { CONSTRUCTED, Tag } from './tags.ts';

/** How many octets the header of an element with `length` contents octets has. */
export function headerOctets(length: number): number {
  let octets = 2;
  if (length >= 0x80) {
    for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) {
      octets++;
    }
  }
  return octets;
}

/** The header of an element with `length` contents octets: identifier octet and length. */
export function header(tag: number, length: number): Buffer {
  const octets = Buffer.allocUnsafe(headerOctets(length));
  const lengthOctets = octets.length - 2;
  octets[0] = tag;
  octets[1] = lengthOctets === 0 ? length : 0x80 | lengthOctets;
  if (lengthOctets > 0) {
    octets.writeUIntBE(length, 2, lengthOctets);
  }
  return octets;
}

/** A primitive element with these contents. */
export function primitive(tag: number, content: Uint8Array): Buffer {
  return Buffer.concat([header(tag, content.length), content]);
}

/** A constructed element; `tag` already has its constructed bit. */
export function constructed(tag: number, ...elements: readonly Uint8Array[]): Buffer {
  const length = elements.reduce((sum, element) => sum + element.length, 0);
  return Buffer.concat([header(tag | CONSTRUCTED, length), ...elements]);
}

export function sequence(...elements: readonly Uint8Array[]): Buffer {
  return constructed(Tag.SEQUENCE, ...elements);
}

export function octetString(content: Uint8Array): Buffer {
  return primitive(Tag.OCTET_STRING, content);
}

/** VisibleString under `tag` (its own by default): ASCII from space to tilde. */
export function visibleString(text: string, tag: number = Tag.VISIBLE_STRING): Buffer {
  return primitive(tag, Buffer.from(text, 'latin1'));
}

/** A non-negative integer below 2^53 under `tag`. */
export function integer(value: number, tag: number = Tag.INTEGER): Buffer {
  const octets: number[] = [];
  let rest = value;
  do {
    octets.unshift(rest % 256);
    rest = Math.floor(rest / 256);
  } while (rest > 0);
  if ((octets[0] as number) >= 0x80) {
    octets.unshift(0);
  }
  return primitive(tag, Buffer.from(octets));
}

/** The contents of a BIT STRING of whole octets: no bit of the last one is unused. */
export function octetAligned(octets: Uint8Array): Buffer {
  return Buffer.concat([Buffer.alloc(1), octets]);
}

/** OBJECT IDENTIFIER in dotted form, e.g. `1.2.840.113549`, under `tag`. */
export function oid(dotted: string, tag: number = Tag.OID): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift(0x80 | (left % 128));
    }
    octets.push(...groups);
  }
  return primitive(tag, Buffer.from(octets));
}

/**
 * The protocol's DATE-TIME (RS-001): `YYYYMMDDHHMMSS` in UTC, no `Z`, whole seconds (fractions are cut off).
 */
export function dateTime(date: Date, tag: number): Buffer {
  const year = date.getUTCFullYear();
  if (!(year >= 0 && year <= 9999)) {
    throw new AwalaError('ASN1_MALFORMED', 'date is outside the years 0 to 9999');
  }
  const digits = date.toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return primitive(tag, Buffer.from(digits, 'latin1'));
}
