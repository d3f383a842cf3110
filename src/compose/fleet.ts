/**
 * One identity, one fleet: processes that share anything must agree where all of it is.
 *
 * The first process notes this in the records and in the bucket, each naming the other; of the keys in KMS, labels say it,
 * set by whoever made them. Whoever finds something else said is about to serve the same private gateways from other stores,
 * and does not start.
 */
import { type Labels, type OwnerLabel, ownerLabels } from '../backends/gcp/kms/key-labels.ts';
import { type Config, ConfigError, localKinds } from '../config.ts';
import type { Records } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';

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
  /** @returns undefined where there is none @throws StoreError */
  note(name: string): Promise<FleetNote | undefined>;
  /** Writes the note unless there is one. @returns what is there now. @throws StoreError */
  noteOnce(name: string, note: FleetNote): Promise<FleetNote>;
}

/** What is joined. */
interface FleetParts {
  readonly records: Records;
  /** Where messages are; undefined where they are kept locally. */
  readonly bucket: Omit<NotePlace, 'place'> | undefined;
  /** Of the key in KMS that signs; undefined where keys are kept locally. */
  readonly keyLabels: Labels | undefined;
  readonly log: Pick<Logger, 'warn'> | undefined;
}

/** @throws ConfigError when this process belongs to another fleet; StoreError */
export async function joinFleet(config: Config, { records, bucket, keyLabels, log }: FleetParts): Promise<void> {
  if (localKinds(config).length === ALL_KINDS) {
    return;
  }
  if (keyLabels) {
    // First, since nothing is made by it.
    compareLabels(config, keyLabels, log);
  }
  const note = fleetNote(config);
  // The bucket first: in another database nothing is to be made before.
  const places: NotePlace[] = [
    ...(bucket ? [placeIn(bucket, config)] : []),
    {
      place: 'the records',
      note: (name) => recordedNote(records, name),
      noteOnce: (name) => noteRecord(records, name, note),
    },
  ];
  // All but the very first process only read.
  const known = await Promise.all(places.map(async (place) => ({ place, noted: await place.note(NAME) })));
  for (const { place, noted } of known) {
    compareNotes(place, note, noted ?? note);
  }
  for (const { place } of known.filter(({ noted }) => noted === undefined)) {
    compareNotes(place, note, await place.noteOnce(NAME, note));
  }
}

function placeIn(bucket: NonNullable<FleetParts['bucket']>, { gcsBucket }: Config): NotePlace {
  return {
    place: `the bucket ${gcsBucket}`,
    note: (name) => bucket.note(name),
    noteOnce: (name, note) => bucket.noteOnce(name, note),
  };
}

/** @throws ConfigError where something else is noted than what this process has */
function compareNotes({ place }: NotePlace, own: FleetNote, noted: FleetNote): void {
  const faults = Object.entries(own)
    .filter(([variable, value]) => noted[variable] !== value)
    .map(([variable, value]) => `${variable} is ${value} here, but ${noted[variable]} by the fleet's note in ${place}`);
  if (faults.length > 0) {
    throw new ConfigError(faults);
  }
}

/** What a label is of. */
const LABELLED: Readonly<Record<OwnerLabel, string>> = {
  'internet-address': 'INTERNET_ADDRESS',
  bucket: 'GCS_BUCKET',
  project: 'GCP_PROJECT',
  database: 'FIRESTORE_DATABASE',
};

/** Two fleets with a bucket and a database each, and one key, have only its labels to be told by. */
function compareLabels(config: Config, labels: Labels, log: FleetParts['log']): void {
  const { internetAddress, kmsKeyRing, kmsIdentityKey, gcpProject: project = '', firestoreDatabase: id } = config;
  const own = ownerLabels({
    internetAddress,
    bucket: config.objectStore === 'gcs' ? config.gcsBucket : undefined,
    database: config.records === 'firestore' ? { project, id } : undefined,
  });
  const key = `${kmsKeyRing}/cryptoKeys/${kmsIdentityKey}`;
  const names = Object.keys(own) as OwnerLabel[];
  const faults = names
    .filter((name) => labels[name] !== undefined && labels[name] !== own[name])
    .map((name) => `${LABELLED[name]} makes label ${name} ${own[name]} here, but it is ${labels[name]} on ${key}`);
  if (faults.length > 0) {
    throw new ConfigError(faults);
  }
  const missing = names.filter((name) => labels[name] === undefined);
  if (missing.length > 0) {
    const wanted = missing.map((name) => `${name}=${own[name]}`).join(',');
    log?.warn({ key, labels: wanted }, 'The identity key has no labels that say whose it is; set them');
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
  return (await recordedNote(records, name)) ?? {};
}

async function recordedNote(records: Records, name: string): Promise<FleetNote | undefined> {
  return (await records.get('configuration', name))?.fields as FleetNote | undefined;
}
