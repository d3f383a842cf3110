/**
 * Moves the parcels that wait for private gateways in the reference implementation's bucket into our mailboxes. They are
 * under `parcels/gateway-bound/PRIVATE-GATEWAY/RECIPIENT/SENDER/DIGEST`.
 *
 * Each goes the way of a parcel from the Internet, so that nothing is taken that could not be delivered; it leaves the
 * bucket once it is durable in its mailbox. One that comes twice, since the move was cut short, replaces itself.
 */
import { AwalaError } from '../awala/errors.ts';
import { MAX_MESSAGE_LENGTH } from '../awala/ramf/ramf-message.ts';
import { GatewayError } from '../gateway/errors.ts';
import type { ParcelDelivery } from '../gateway/parcel-delivery.ts';
import type { Random } from '../gateway/ports.ts';
import { newUuid } from '../gateway/uuid.ts';
import { type MigrationCounts, MigrationFault } from './report.ts';

const WAITING = /^parcels\/gateway-bound\/(0[0-9a-f]{64})\/[^/]+\/[^/]+\/[0-9a-f]{64}$/;

/** An object of the bucket. */
interface OldObject {
  readonly name: string;
  /** Octets. */
  readonly size: number;
  /** When it came, in milliseconds. */
  readonly created: number;
}

/** The bucket; its objects are listed in the order of their names. */
export interface OldBucket<Object extends OldObject> {
  readonly name: string;
  list(): AsyncIterable<Object>;
  read(object: Object): Promise<Buffer | undefined>;
  delete(object: Object): Promise<void>;
}

export interface ParcelMoveParts {
  /** Undefined where nothing can be taken: everything remains, and is counted. */
  readonly delivery: ParcelDelivery | undefined;
  readonly random: Random;
  readonly counts: MigrationCounts;
  readonly isDryRun: boolean;
}

/** @throws StoreError */
export async function moveParcels<Object extends OldObject>(
  bucket: OldBucket<Object>,
  parts: ParcelMoveParts,
): Promise<void> {
  // By private gateway, in the order in which they came: that is how they are to be collected.
  let mailbox: string | undefined;
  let waiting: Object[] = [];
  parts.counts.remaining = 0;
  for await (const object of bucket.list()) {
    parts.counts.remaining++;
    const peer = WAITING.exec(object.name)?.[1];
    if (peer === undefined) {
      skip(parts, bucket, object, new MigrationFault('OBJECT_UNKNOWN', 'Object is no parcel for a private gateway'));
      continue;
    }
    if (peer !== mailbox) {
      await moveAll(bucket, waiting, parts);
      mailbox = peer;
      waiting = [];
    }
    waiting.push(object);
  }
  await moveAll(bucket, waiting, parts);
}

async function moveAll<Object extends OldObject>(
  bucket: OldBucket<Object>,
  objects: Object[],
  parts: ParcelMoveParts,
): Promise<void> {
  for (const object of objects.sort((one, other) => one.created - other.created)) {
    try {
      const outcome = await move(bucket, object, parts);
      if (outcome !== 'gone') {
        parts.counts.count('waiting parcels', true);
      }
      if (outcome !== 'would be moved') {
        parts.counts.remaining = (parts.counts.remaining ?? 0) - 1;
      }
    } catch (error) {
      skip(parts, bucket, object, faultOf(error));
    }
  }
}

/** @returns what became of it; `gone`: it was collected meanwhile */
async function move<Object extends OldObject>(
  bucket: OldBucket<Object>,
  object: Object,
  { delivery, random, isDryRun }: ParcelMoveParts,
): Promise<'moved' | 'would be moved' | 'gone'> {
  if (object.size > MAX_MESSAGE_LENGTH) {
    throw new MigrationFault('PARCEL_REFUSED', `Object has ${object.size} octets, more than any parcel`);
  }
  if (isDryRun) {
    return 'would be moved';
  }
  if (!delivery) {
    throw new MigrationFault('PARCEL_NOT_NOW', 'The identity was not taken over: the parcel remains in the bucket');
  }
  const parcel = await bucket.read(object);
  if (!parcel) {
    return 'gone';
  }
  await delivery.fromInternet(parcel, { trace: newUuid(random) });
  await bucket.delete(object);
  return 'moved';
}

function skip<Object extends OldObject>(
  { counts }: ParcelMoveParts,
  bucket: OldBucket<Object>,
  { name }: Object,
  fault: MigrationFault,
): void {
  counts.skip(fault, { file: bucket.name, object: name });
}

/** A store that is away ends the run; all else concerns this parcel alone, and it remains in the bucket. */
function faultOf(error: unknown): MigrationFault {
  if (error instanceof MigrationFault) {
    return error;
  }
  if (error instanceof AwalaError) {
    const code = error.code === 'MESSAGE_EXPIRED' ? 'EXPIRED' : 'PARCEL_REFUSED';
    return new MigrationFault(code, `${error.message} [${error.code}]`);
  }
  if (error instanceof GatewayError) {
    const isPassing = error.code === 'MAILBOX_FULL' || error.code === 'RATE_EXCEEDED';
    return new MigrationFault(isPassing ? 'PARCEL_NOT_NOW' : 'PARCEL_REFUSED', `${error.message} [${error.code}]`);
  }
  throw error;
}
