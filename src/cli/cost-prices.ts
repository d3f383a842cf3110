/** What the cloud charges, as its price lists say, and how much of it each device uses: to be edited by who knows better. */
import { readFileSync } from 'node:fs';

/** US dollars, and the assumptions that turn operations into a month. */
export const LIST_PRICES = {
  /** Cloud Storage, standard, one region: https://cloud.google.com/storage/pricing */
  classAPer10000: 0.05,
  classBPer10000: 0.004,
  storageGbMonth: 0.02,
  /** Firestore, standard edition, one region: https://cloud.google.com/firestore/pricing */
  firestoreReadsPer100000: 0.03,
  firestoreWritesPer100000: 0.09,
  firestoreDeletesPer100000: 0.01,
  /** Cloud KMS, software keys, RSA 2048: https://cloud.google.com/kms/pricing */
  kmsOperationsPer10000: 0.03,
  kmsKeyVersionMonth: 0.06,
  /** A managed Redis with a replica, and how many commands a second it is given at most. */
  redisMonth: 140,
  redisCommandsPerSecond: 20_000,
  /** A process of ours: half a processor and 1 GiB, and how many devices it keeps connected. */
  processMonth: 20,
  devicesPerProcess: 15_000,

  /** How often a device connects anew in a day: COLLECTION_MAX_AGE, and what its own network adds. */
  connectionsPerDeviceDay: 12,
  /** How often a device registers in a month. */
  registrationsPerDeviceMonth: 0.35,
  /** Octets of a parcel, and days that one waits which is not collected live. */
  parcelOctets: 10_240,
  waitingDays: 2,
} as const;

export type Prices = { readonly [Name in keyof typeof LIST_PRICES]: number };

/** The file of prices cannot be used; says why in one line. */
export class PricesError extends Error {
  override readonly name = 'PricesError';
}

/**
 * The list's prices, with those of a JSON file in their place: an object with some of the same names.
 *
 * @throws PricesError
 */
export function readPrices(file: string): Prices {
  let given: unknown;
  try {
    given = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new PricesError(`Prices cannot be read: ${(error as Error).message}`);
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new PricesError(`${file} must hold a JSON object`);
  }
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(LIST_PRICES, name)) {
      throw new PricesError(`${file} has a price that is not known: ${name}`);
    }
    if (typeof value !== 'number' || !(value >= 0 && value < Number.POSITIVE_INFINITY)) {
      throw new PricesError(`${file}: ${name} must be a number, 0 or more`);
    }
    if (value === 0 && (name === 'redisCommandsPerSecond' || name === 'devicesPerProcess')) {
      throw new PricesError(`${file}: ${name} must be more than 0`);
    }
  }
  return { ...LIST_PRICES, ...given };
}
