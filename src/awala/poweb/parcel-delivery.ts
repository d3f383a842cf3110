/**
 * The message that carries one parcel in a collection (RS-000, protocol section 7).
 *
 * `SEQUENCE { [0] deliveryId VisibleString, [1] parcel OCTET STRING }`; the private gateway acknowledges it with the
 * delivery id as its whole message.
 */
import { readBer } from '../asn1/reader.ts';
import { context, Tag } from '../asn1/tags.ts';
import { readVisibleString } from '../asn1/values.ts';
import { header, visibleString } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';

/** The most characters of a delivery id. */
export const MAX_DELIVERY_ID_LENGTH = 64;

/** The largest delivery that is read: a RAMF message of 9 MiB and what is around it. */
export const MAX_PARCEL_DELIVERY_OCTETS = 9 * 1024 * 1024 + 1024;

export interface ParcelDeliveryMessage {
  readonly deliveryId: string;
  /** The serialized parcel. */
  readonly parcel: Buffer;
}

/**
 * What stands before a parcel in its delivery. The parcel's octets follow and nothing after them, so that a long one
 * is sent without a copy.
 */
export function writeParcelDeliveryHeader(deliveryId: string, parcelOctets: number): Buffer {
  const id = visibleString(deliveryId, context(0));
  const parcelHeader = header(context(1), parcelOctets);
  const length = id.length + parcelHeader.length + parcelOctets;
  return Buffer.concat([header(Tag.SEQUENCE, length), id, parcelHeader]);
}

/** Serializes a delivery, DER. */
export function writeParcelDelivery({ deliveryId, parcel }: ParcelDeliveryMessage): Buffer {
  return Buffer.concat([writeParcelDeliveryHeader(deliveryId, parcel.length), parcel]);
}

/**
 * Reads a delivery.
 *
 * @returns the parcel as a view of `bytes` (a copy if it came in segments)
 * @throws AwalaError DELIVERY_MALFORMED, MESSAGE_TOO_LARGE, ASN1_TOO_COMPLEX
 */
export function readParcelDelivery(bytes: Buffer): ParcelDeliveryMessage {
  if (bytes.length > MAX_PARCEL_DELIVERY_OCTETS) {
    throw new AwalaError('MESSAGE_TOO_LARGE', `Parcel delivery is larger than ${MAX_PARCEL_DELIVERY_OCTETS} octets`);
  }
  return refusingAs('DELIVERY_MALFORMED', 'Parcel delivery', () => {
    const fields = readBer(bytes, Tag.SEQUENCE).children();
    const deliveryId = readVisibleString(fields.string(context(0)), MAX_DELIVERY_ID_LENGTH);
    return { deliveryId, parcel: fields.string(context(1)).octets() };
  });
}
