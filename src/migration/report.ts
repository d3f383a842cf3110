/** What came of a migration: what was taken, what was there already, what was skipped, where and why. */

/** What can be taken over. */
export type MigrationKind =
  | 'identity keys'
  | 'own certificates'
  | 'private gateways'
  | 'session keys'
  | "peers' session keys"
  | 'spent authorizations'
  | 'collected parcels'
  | 'waiting parcels';

/** The one list of reasons for which something is skipped. */
export type MigrationCode =
  /** A line of more octets than a document of the old gateway can have. */
  | 'LINE_TOO_LONG'
  /** Not one JSON object: is the export NDJSON, without `--jsonArray`? */
  | 'LINE_MALFORMED'
  /** No document of the old gateway's that we know. */
  | 'DOCUMENT_UNKNOWN'
  /** A field is missing, or is not what it should be. */
  | 'DOCUMENT_MALFORMED'
  /** Past its time: nobody misses it. */
  | 'EXPIRED'
  /** The export does not say which of several identity keys is the current one. */
  | 'CURRENT_KEY_UNKNOWN'
  /** Identity keys are taken from Cloud KMS only, into `KEYS=gcp-kms`. */
  | 'KEY_ELSEWHERE'
  /** The key's keeper does not open the key, or it is another one. */
  | 'KEY_UNUSABLE'
  /** Belongs to an identity key that was not taken over. */
  | 'KEY_UNKNOWN'
  /** Cloud KMS does not decrypt a session key with the key that was named. */
  | 'SESSION_KEY_UNREADABLE'
  /** The bucket has something else in it than waiting parcels. */
  | 'OBJECT_UNKNOWN'
  /** A waiting parcel that no private gateway could be given any more, or that is no parcel. */
  | 'PARCEL_REFUSED'
  /** There is no room for a waiting parcel: it remains where it is. */
  | 'PARCEL_NOT_NOW';

/** What is skipped for these is not missed. */
const HARMLESS: readonly MigrationCode[] = ['EXPIRED'];

/** Lines that are told of each code. */
const MOST_EXAMPLES = 20;

/** Where something stands in the exports. */
export interface ExportPlace {
  /** A file, or a bucket. */
  readonly file: string;
  /** Counts from 1; of a file. */
  readonly line?: number;
  /** Of a bucket. */
  readonly object?: string;
}

/** JSON. */
export interface MigrationReport {
  readonly isDryRun: boolean;
  /** Of the key that issues; absent where it could not be taken over. */
  readonly nodeId?: string;
  /** With a dry run: what would be taken. */
  readonly taken: Readonly<Record<string, number>>;
  /** What was there already. */
  readonly present: Readonly<Record<string, number>>;
  readonly skipped: readonly SkippedReport[];
  /** How many objects are still in the old bucket; absent where none was named, so that nobody looked. */
  readonly remaining?: number;
  /** Whether nothing was skipped that may be missed. */
  readonly isComplete: boolean;
}

export interface SkippedReport {
  readonly code: MigrationCode;
  readonly count: number;
  /** The first ones. */
  readonly examples: readonly (ExportPlace & { readonly reason: string })[];
}

/** A reason to skip something. */
export class MigrationFault extends Error {
  override readonly name = 'MigrationFault';
  readonly code: MigrationCode;

  constructor(code: MigrationCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Counts as things happen. */
export class MigrationCounts {
  nodeId: string | undefined;
  /** Objects in the old bucket; undefined until somebody looks. */
  remaining: number | undefined;
  private readonly taken = new Map<MigrationKind, number>();
  private readonly present = new Map<MigrationKind, number>();
  private readonly skipped = new Map<MigrationCode, { count: number; examples: SkippedReport['examples'][number][] }>();

  /** @param isNew whether it was not there before */
  count(kind: MigrationKind, isNew: boolean): void {
    const counts = isNew ? this.taken : this.present;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }

  skip({ code, message }: MigrationFault, place: ExportPlace): void {
    const skipped = this.skipped.get(code) ?? { count: 0, examples: [] };
    this.skipped.set(code, skipped);
    skipped.count++;
    if (skipped.examples.length < MOST_EXAMPLES) {
      skipped.examples.push({ ...place, reason: message });
    }
  }

  report(isDryRun: boolean): MigrationReport {
    const skipped = [...this.skipped].map(([code, { count, examples }]) => ({
      code,
      count,
      examples: examples.toSorted((one, other) => (one.line ?? 0) - (other.line ?? 0)),
    }));
    return {
      isDryRun,
      ...(this.nodeId !== undefined && { nodeId: this.nodeId }),
      taken: Object.fromEntries(this.taken),
      present: Object.fromEntries(this.present),
      ...(this.remaining !== undefined && { remaining: this.remaining }),
      skipped: skipped.toSorted((one, other) => one.code.localeCompare(other.code)),
      isComplete: skipped.every(({ code }) => HARMLESS.includes(code)),
    };
  }
}
