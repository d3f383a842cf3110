/**
 * The messages of CogRPC (RS-008): cargo with an id, and the acknowledgement by that id. See `proto/`.
 */
import { octetsField, piecesField, readFields } from './protobuf.ts';

const ID = 1;
const CARGO = 2;

/** The longest id, in octets; clients send UUIDs. */
const MAX_ID_OCTETS = 256;

export interface CargoDelivery {
  /** Chosen by the sender for this call. */
  readonly id: string;
  /** A whole RAMF message. */
  readonly cargo: Buffer;
}

/** A delivery to be written, its cargo in pieces. */
export interface OutgoingCargoDelivery {
  readonly id: string;
  readonly cargo: readonly Uint8Array[];
}

export interface CargoDeliveryAck {
  /** That of the delivery. */
  readonly id: string;
}

/** Reads a delivery; the cargo is a view of `message`. @throws Error */
export function readCargoDelivery(message: Buffer): CargoDelivery {
  const fields = readFields(message);
  const cargo = fields.get(CARGO) ?? Buffer.alloc(0);
  if (typeof cargo === 'number') {
    throw new Error('Cargo is a number');
  }
  return { id: readId(fields.get(ID)), cargo };
}

export function writeCargoDelivery({ id, cargo }: CargoDelivery | OutgoingCargoDelivery): Buffer {
  const pieces = cargo instanceof Uint8Array ? [cargo] : cargo;
  return Buffer.concat([...octetsField(ID, Buffer.from(id)), ...piecesField(CARGO, pieces)]);
}

/** @throws Error */
export function readCargoDeliveryAck(message: Buffer): CargoDeliveryAck {
  return { id: readId(readFields(message).get(ID)) };
}

export function writeCargoDeliveryAck({ id }: CargoDeliveryAck): Buffer {
  return Buffer.concat(octetsField(ID, Buffer.from(id)));
}

function readId(value: Buffer | number | undefined): string {
  if (typeof value === 'number' || (value && value.length > MAX_ID_OCTETS)) {
    throw new Error(`Id is not a string of up to ${MAX_ID_OCTETS} octets`);
  }
  return value?.toString('utf8') ?? '';
}
