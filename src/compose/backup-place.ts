/** Configuration to objects: where a backup is, a file or an object of Cloud Storage. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { isDirectory, readBackupFile, writeBackupFile } from '../backup/backup-file.ts';
import { BackupError } from '../backup/errors.ts';
import { machineClock } from '../machine.ts';

const OBJECT = /^gs:\/\/(?<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])\/(?<name>[\x20-\x7e]*)$/;

export interface BackupPlace {
  /** As a command would name it. */
  readonly name: string;
  /** All or nothing; replaces what is there. @returns octets @throws BackupError, StoreError */
  write(octets: ReadableStream<Uint8Array>): Promise<number>;
  /** @throws BackupError, StoreError; when it is read */
  read(): ReadableStream<Uint8Array>;
}

/**
 * Where a backup is read from.
 *
 * @param text a file's path, `gs://BUCKET/NAME`, or `-` for standard input, which cannot be written to
 * @throws BackupError PLACE_UNUSABLE
 */
export async function openPlace(text: string): Promise<BackupPlace> {
  if (text === '-') {
    return {
      name: 'standard input',
      write: async () => {
        throw new BackupError('PLACE_UNUSABLE', 'A backup goes to a file, a directory, or Cloud Storage');
      },
      read: () => Readable.toWeb(process.stdin) as ReadableStream<Uint8Array>,
    };
  }
  if (!text.startsWith('gs://')) {
    return {
      name: text,
      write: (octets) => writeBackupFile(text, octets, machineClock.now()),
      read: () => readBackupFile(text),
    };
  }
  const { bucket, name } = OBJECT.exec(text)?.groups ?? {};
  if (!bucket || !name) {
    throw new BackupError('PLACE_UNUSABLE', `${text} is no place for a backup: it must be like gs://BUCKET/NAME`);
  }
  const { wholeObject } = await import('../backends/gcp/gcs/whole-object.ts');
  return { name: text, ...wholeObject(bucket, name) };
}

/**
 * Where a new backup goes: what ends with `/`, and a directory, gets a name with the gateway's and the time in it.
 *
 * @param instant milliseconds
 * @throws BackupError PLACE_UNUSABLE
 */
export async function openNewPlace(text: string, internetAddress: string, instant: number): Promise<BackupPlace> {
  const isFolder = text.startsWith('gs://') ? text.endsWith('/') : await isDirectory(text);
  if (!isFolder) {
    return openPlace(text);
  }
  if (!text.startsWith('gs://')) {
    await mkdir(text, { recursive: true, mode: 0o700 });
  }
  const time = new Date(instant).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const name = `${internetAddress}-${time}.backup`;
  return openPlace(text.startsWith('gs://') ? `${text}${name}` : path.join(text, name));
}
