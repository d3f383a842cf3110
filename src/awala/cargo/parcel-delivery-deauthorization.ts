/**
 * Parcel delivery deauthorizations (PDD; RS-000, protocol section 6): revoke delivery authorizations (PDAs) that an
 * endpoint issued.
 *
 * `SEQUENCE { [0] recipientAddress VisibleString, [1] SET OF INTEGER, [2] expiryDateUtc DATE-TIME }`. RS-000 reserves no
 * type octet for it and nobody sends it yet: it stands in cargo as it is, without a prefix.
 */
import { readBer } from '../asn1/reader.ts';
import { context, contextConstructed, Tag } from '../asn1/tags.ts';
import { readDateTime } from '../asn1/time.ts';
import { readVisibleString } from '../asn1/values.ts';
import { constructed, dateTime, primitive, sequence, visibleString } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { MAX_ADDRESS_LENGTH } from '../ramf/ramf-message.ts';

/** The most serial numbers in one. */
export const MAX_DEAUTHORIZED_SERIAL_NUMBERS = 1_000;

/** The longest serial number, in octets, as in a certificate. */
const MAX_SERIAL_NUMBER_OCTETS = 32;

/** As RAMF has it for recipients. */
const NODE_ID = /^0[a-f0-9]+$/;

export interface ParcelDeliveryDeauthorization {
  /** The id of the endpoint that issued the authorizations: `0` and lower-case hexadecimal digits. */
  readonly endpointId: string;
  /** Serial numbers as `Certificate.serialNumber` has them; none revokes all of the endpoint's. */
  readonly serialNumbers: readonly string[];
  /** Until when it is in force, in ms since 1970. */
  readonly expiry: number;
}

/** Serializes a deauthorization, DER. */
export function writeParcelDeliveryDeauthorization(deauthorization: ParcelDeliveryDeauthorization): Buffer {
  const serialNumbers = deauthorization.serialNumbers
    .map((hex) => primitive(Tag.INTEGER, Buffer.from(hex, 'hex')))
    .sort(Buffer.compare);
  return sequence(
    visibleString(deauthorization.endpointId, context(0)),
    constructed(contextConstructed(1), ...serialNumbers),
    dateTime(new Date(deauthorization.expiry), context(2)),
  );
}

/**
 * Reads a deauthorization; further fields are passed over.
 *
 * @throws AwalaError DEAUTHORIZATION_MALFORMED, ASN1_TOO_COMPLEX
 */
export function readParcelDeliveryDeauthorization(bytes: Buffer): ParcelDeliveryDeauthorization {
  return refusingAs('DEAUTHORIZATION_MALFORMED', 'Parcel delivery deauthorization', () => {
    const fields = readBer(bytes, Tag.SEQUENCE).children();
    const endpointId = readVisibleString(fields.string(context(0)), MAX_ADDRESS_LENGTH);
    if (!NODE_ID.test(endpointId)) {
      throw new AwalaError('DEAUTHORIZATION_MALFORMED', `"${endpointId}" is not the id of an endpoint`);
    }
    const serialNumbers: string[] = [];
    const set = fields.next(contextConstructed(1)).children();
    while (!set.atEnd) {
      const octets = set.next(Tag.INTEGER).integerOctets();
      if (octets.length > MAX_SERIAL_NUMBER_OCTETS || serialNumbers.length >= MAX_DEAUTHORIZED_SERIAL_NUMBERS) {
        throw new AwalaError('DEAUTHORIZATION_MALFORMED', 'Serial number is too long or one too many');
      }
      serialNumbers.push(octets.toString('hex'));
    }
    return { endpointId, serialNumbers, expiry: readDateTime(fields.string(context(2))) };
  });
}
