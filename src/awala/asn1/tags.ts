/** Identifier octets (X.690, 8.1.2) of the types that the protocol uses. */
export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  NULL: 0x05,
  OID: 0x06,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  TELETEX_STRING: 0x14,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  VISIBLE_STRING: 0x1a,
  UNIVERSAL_STRING: 0x1c,
  BMP_STRING: 0x1e,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** Set in the identifier octet of an element made of further elements. */
export const CONSTRUCTED = 0x20;

/** The identifier octet of a primitive element under context-specific tag `[number]`. */
export function context(number: number): number {
  return 0x80 | number;
}

/** The identifier octet of a constructed element under context-specific tag `[number]`. */
export function contextConstructed(number: number): number {
  return 0xa0 | number;
}
