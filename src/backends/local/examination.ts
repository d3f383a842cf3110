/** What an examination of the stores' files finds. */

/** Keys of damaged data that are told at most, of objects and of records. */
export const MOST_DAMAGED_KEYS = 100;

export interface Examination {
  /** What is wrong with pages and indexes, as SQLite tells it. */
  readonly faults: readonly string[];
  readonly objects: number;
  readonly records: number;
  /** Octets of all objects' bodies. */
  readonly liveOctets: number;
  /** How many objects and records do not match their checksums. */
  readonly damaged: number;
  readonly damagedObjects: readonly string[];
  readonly damagedRecords: readonly { readonly kind: string; readonly key: string }[];
  /** Bodies that no entry leads to. */
  readonly orphanedBodies: number;
  /** Work whose object is gone. */
  readonly orphanedWork: number;
  /** Damaged objects and records that were set aside earlier, and are kept for who wants to look into them. */
  readonly setAside: number;
}

/** What compaction did: octets of all files of the stores, and what belonged to nothing. */
export interface Compaction {
  readonly octetsBefore: number;
  readonly octetsAfter: number;
  readonly orphanedBodies: number;
}
