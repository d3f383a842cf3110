/**
 * A note in the bucket: a few short strings under a key of their own, written once and never expiring. It is the custom
 * metadata of an empty object without `customTime`, which the bucket's lifecycle leaves alone.
 */
import type { Bucket, File } from '@google-cloud/storage';
import { statusOf } from './errors.ts';

export type Note = Readonly<Record<string, string>>;

/**
 * Writes the note unless there is one.
 *
 * Source: https://cloud.google.com/storage/docs/request-preconditions#special-case (generation 0: there is none)
 *
 * @returns what is there now
 */
export async function noteOnce(bucket: Bucket, key: string, note: Note): Promise<Note> {
  const file = bucket.file(key);
  try {
    await file.save('', {
      resumable: false,
      validation: false,
      metadata: { contentType: 'application/octet-stream', metadata: note },
      preconditionOpts: { ifGenerationMatch: 0 },
    });
    return note;
  } catch (error) {
    if (statusOf(error) !== 412) {
      throw error;
    }
    // It may be ours, where an answer was lost.
    return readAll(file);
  }
}

/** @returns undefined where there is none */
export async function readNote(bucket: Bucket, key: string): Promise<Note | undefined> {
  try {
    return await readAll(bucket.file(key));
  } catch (error) {
    if (statusOf(error) === 404) {
      return undefined;
    }
    throw error;
  }
}

async function readAll(file: File): Promise<Note> {
  const [{ metadata = {} }] = await file.getMetadata();
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, String(value)]));
}
