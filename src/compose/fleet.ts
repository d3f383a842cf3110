/**
 * One identity, one fleet: processes that share anything must agree where all of it is.
 *
 * The first process notes this in the records and in the bucket, each naming the other; whoever finds something else noted
 * is about to serve the same private gateways from other stores, and does not start.
 */
import { type Config, ConfigError, localKinds } from '../config.ts';
import type { Records } from '../gateway/ports.ts';

/** What must be the same in all processes, by variable. */
type FleetNote = Readonly<Record<string, string>>;

const NAME = 'fleet';

/** What a variable has where the thing is in the data directory. */
const LOCAL = 'local';

/** Objects, records, keys and signals. */
const ALL_KINDS = 4;

/** What keeps a note. */
interface NotePlace {
  /** For people. */
  readonly place: string;
  /** Writes the note unless there is one. @returns what is there now. @throws StoreError */
  noteOnce(name: string, note: FleetNote): Promise<FleetNote>;
}

/**
 * @param bucket where messages are; undefined where they are kept locally
 * @throws ConfigError when this process belongs to another fleet; StoreError
 */
export async function joinFleet(
  config: Config,
  { records, bucket }: { records: Records; bucket: Omit<NotePlace, 'place'> | undefined },
): Promise<void> {
  if (localKinds(config).length === ALL_KINDS) {
    return;
  }
  const note = fleetNote(config);
  // The bucket first: in another database nothing is to be made before.
  const places: NotePlace[] = [
    ...(bucket
      ? [{ place: `the bucket ${config.gcsBucket}`, noteOnce: (name: string) => bucket.noteOnce(name, note) }]
      : []),
    { place: 'the records', noteOnce: (name) => noteRecord(records, name, note) },
  ];
  for (const { place, noteOnce } of places) {
    const noted = await noteOnce(NAME, note);
    const faults = Object.entries(note)
      .filter(([variable, value]) => noted[variable] !== value)
      .map(
        ([variable, value]) => `${variable} is ${value} here, but ${noted[variable]} by the fleet's note in ${place}`,
      );
    if (faults.length > 0) {
      throw new ConfigError(faults);
    }
  }
}

/** Redis is not in it: it may be replaced by an empty one. */
function fleetNote(config: Config): FleetNote {
  const { gcpProject, firestoreDatabase, kmsKeyRing, kmsIdentityKey } = config;
  return {
    INTERNET_ADDRESS: config.internetAddress,
    GCS_BUCKET: config.objectStore === 'gcs' ? `${config.gcsBucket}` : LOCAL,
    FIRESTORE_DATABASE: config.records === 'firestore' ? `${gcpProject}/${firestoreDatabase}` : LOCAL,
    KMS_IDENTITY_KEY: config.keys === 'gcp-kms' ? `${kmsKeyRing}/${kmsIdentityKey}` : LOCAL,
  };
}

async function noteRecord(records: Records, name: string, note: FleetNote): Promise<FleetNote> {
  if (await records.create('configuration', name, note)) {
    return note;
  }
  return ((await records.get('configuration', name))?.fields ?? {}) as FleetNote;
}
