/**
 * What the gateway asks of the cloud for each thing that happens: in Cloud Storage, Firestore, Cloud KMS and Redis.
 *
 * `test/backends/gcp/operation-counts.test.ts` counts them at the wire of each service, and holds this table to that.
 */

/** How many of each; what is missing is none. */
export interface Operations {
  /** Cloud Storage, class A: an object is put, or up to 1,000 are listed. */
  readonly classA?: number;
  /** Cloud Storage, class B: an object or its metadata is read. Deleting is free. */
  readonly classB?: number;
  readonly firestoreReads?: number;
  readonly firestoreWrites?: number;
  /** By a TTL policy, when they have expired. */
  readonly firestoreDeletes?: number;
  readonly kmsOperations?: number;
  readonly redisCommands?: number;
}

export const OPERATIONS = {
  /** A parcel is put into a mailbox. */
  delivered: { classA: 1, redisCommands: 3 },
  /** A device that was connected when the parcel came has acknowledged it. */
  collectedLive: { redisCommands: 1 },
  /** A device has collected and acknowledged a parcel that waited. */
  collectedLater: { classB: 2, redisCommands: 1 },
  /** A device connects to collect. */
  connection: { classA: 1, redisCommands: 3 },
  /** It waits for an hour: its mailbox is listed once more, should anything not have been told. */
  waitingHour: { classA: 1 },
  /** A parcel for the Internet is taken in, sent on and remembered. */
  internetBound: {
    classA: 1,
    classB: 2,
    firestoreReads: 1,
    firestoreWrites: 1,
    firestoreDeletes: 1,
    redisCommands: 8,
  },
  /** A cargo is taken in and opened, whatever is in it; acknowledgements in it take a read more, all together. */
  cargo: { classA: 1, classB: 2, firestoreReads: 3, firestoreWrites: 1, redisCommands: 7 },
  /** A parcel in cargo is put into a mailbox, and its acknowledgement is owed. */
  cargoBorne: { classA: 1, firestoreReads: 1, firestoreWrites: 1, firestoreDeletes: 1, redisCommands: 3 },
  /** A courier collects, and gets one cargo: at most, beside the acknowledgements that are owed and are read. */
  courierCollection: {
    classA: 1,
    firestoreReads: 13,
    firestoreWrites: 10,
    firestoreDeletes: 4,
    kmsOperations: 1,
    redisCommands: 3,
  },
  /** A parcel leaves in that cargo. */
  collectedByCourier: { classB: 2 },
  /** An acknowledgement in cargo has a parcel deleted. */
  acknowledgedByCargo: { classB: 1, redisCommands: 1 },
  /** A private gateway registers. */
  registration: { firestoreWrites: 3, firestoreDeletes: 3, kmsOperations: 2, redisCommands: 7 },
} as const satisfies Record<string, Operations>;

/** Documents of Firestore that a process looks at each hour at most, to learn what was blocked or revoked elsewhere. */
export const READS_PER_PROCESS_HOUR = 3000;

/** Commands of Redis by which a worker looks for work each hour, where nobody wakes it. */
export const COMMANDS_PER_WORKER_HOUR = 7200;
