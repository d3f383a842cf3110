/**
 * Parcel collection acknowledgements (PCA; RS-000, protocol section 6): say that a parcel arrived and is safe, so that
 * the gateway that sent it may forget it.
 *
 * The prefix of type `51`, then
 * `SEQUENCE { [0] senderEndpointId, [1] recipientEndpointId, [2] parcelId }`, all VisibleString.
 */
import { readBer } from '../asn1/reader.ts';
import { context, Tag } from '../asn1/tags.ts';
import { readVisibleString } from '../asn1/values.ts';
import { sequence, visibleString } from '../asn1/writer.ts';
import { AwalaError, refusingAs } from '../errors.ts';
import { ControlType, MESSAGE_PREFIX_OCTETS, messagePrefix, messageType } from '../message-prefix.ts';
import { MAX_ADDRESS_LENGTH, MAX_MESSAGE_ID_LENGTH } from '../ramf/ramf-message.ts';

const PREFIX = messagePrefix(ControlType.PARCEL_COLLECTION_ACK);

export interface ParcelCollectionAck {
  /** Node id of the parcel's sender: the subject of its certificate. */
  readonly senderEndpointId: string;
  /** The parcel's recipient id. */
  readonly recipientEndpointId: string;
  /** The parcel's message id. */
  readonly parcelId: string;
}

/** Serializes an acknowledgement: the prefix and DER. */
export function writeParcelCollectionAck(ack: ParcelCollectionAck): Buffer {
  const fields = sequence(
    visibleString(ack.senderEndpointId, context(0)),
    visibleString(ack.recipientEndpointId, context(1)),
    visibleString(ack.parcelId, context(2)),
  );
  return Buffer.concat([PREFIX, fields]);
}

/**
 * Reads an acknowledgement; further fields are passed over.
 *
 * @throws AwalaError COLLECTION_ACK_MALFORMED, ASN1_TOO_COMPLEX
 */
export function readParcelCollectionAck(bytes: Buffer): ParcelCollectionAck {
  if (messageType(bytes) !== ControlType.PARCEL_COLLECTION_ACK) {
    throw new AwalaError('COLLECTION_ACK_MALFORMED', 'Message is not a parcel collection acknowledgement');
  }
  return refusingAs('COLLECTION_ACK_MALFORMED', 'Parcel collection acknowledgement', () => {
    const fields = readBer(bytes.subarray(MESSAGE_PREFIX_OCTETS), Tag.SEQUENCE).children();
    return {
      senderEndpointId: readVisibleString(fields.string(context(0)), MAX_ADDRESS_LENGTH),
      recipientEndpointId: readVisibleString(fields.string(context(1)), MAX_ADDRESS_LENGTH),
      parcelId: readVisibleString(fields.string(context(2)), MAX_MESSAGE_ID_LENGTH),
    };
  });
}
