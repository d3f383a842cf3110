/**
 * The 7 octets that messages start with (RS-001, protocol section 1): `Awala`, the concrete type, the version.
 */

/** The start of every message. */
const AWALA = Buffer.from('Awala', 'latin1');
const VERSION = 0;

export const MESSAGE_PREFIX_OCTETS = AWALA.length + 2;

/** Types of control messages (RS-000): the prefix is followed by DER that nobody signed. */
export const ControlType = {
  CERTIFICATE_ROTATION: 0x10,
  PARCEL_COLLECTION_ACK: 0x51,
} as const;

/** The prefix of messages of a type. */
export function messagePrefix(type: number): Buffer {
  return Buffer.from([...AWALA, type, VERSION]);
}

/** The type that a message's prefix tells, or undefined if it has none or is of another version. */
export function messageType(message: Buffer): number | undefined {
  const isMessage =
    message.length >= MESSAGE_PREFIX_OCTETS &&
    AWALA.every((octet, at) => message[at] === octet) &&
    message[AWALA.length + 1] === VERSION;
  return isMessage ? message[AWALA.length] : undefined;
}
