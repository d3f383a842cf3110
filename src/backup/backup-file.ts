/** Files with secrets in them: whole or not there, for their owner only. */
import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { BackupError } from './errors.ts';

const OWNER_ONLY = 0o600;
const OWNER_ONLY_FOLDER = 0o700;

/** Ends the name of a backup that is being written. */
const DRAFT = '.backup-part';

const DRAFT_OCTETS = 4;

/** What was left by a backup that was cut short is removed after this time, in milliseconds. */
const DRAFT_LIFETIME = 86_400_000;

/**
 * Writes a backup, durably, in place of one of the same name. Until it is whole it is beside it, under another name; what
 * was left so a day ago is removed.
 *
 * @param now milliseconds
 * @returns octets
 * @throws BackupError PLACE_UNUSABLE; whatever reading `octets` throws
 */
export async function writeBackupFile(file: string, octets: ReadableStream<Uint8Array>, now: number): Promise<number> {
  const draft = `${file}.${randomBytes(DRAFT_OCTETS).toString('hex')}${DRAFT}`;
  try {
    await removeOldDrafts(path.dirname(file), now);
    const stream = createWriteStream(draft, { flags: 'wx', mode: OWNER_ONLY, flush: true });
    await pipeline(Readable.fromWeb(octets as never), stream);
    await rename(draft, file);
    await syncFile(path.dirname(file));
    return stream.bytesWritten;
  } catch (error) {
    await rm(draft, { force: true });
    throw (error as NodeJS.ErrnoException).syscall ? unusable(file, error as Error) : error;
  }
}

async function removeOldDrafts(folder: string, now: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = path.join(folder, name);
    const found = name.endsWith(DRAFT) ? await stat(file).catch(() => undefined) : undefined;
    if (found && now - found.mtimeMs > DRAFT_LIFETIME) {
      await rm(file, { force: true });
    }
  }
}

/** @throws BackupError PLACE_UNUSABLE, when it is opened or read */
export function readBackupFile(file: string): ReadableStream<Uint8Array> {
  const read = async function* () {
    try {
      yield* createReadStream(file);
    } catch (error) {
      throw unusable(file, error as Error);
    }
  };
  return ReadableStream.from(read());
}

/**
 * Writes a small secret, durably, where there is no file yet.
 *
 * @throws BackupError PLACE_UNUSABLE, also when there is one
 */
export async function writeSecretFile(file: string, text: string): Promise<void> {
  // Whole under another name first: a crash leaves no half of a secret under this one.
  const draft = `${file}.part`;
  try {
    await rm(draft, { force: true });
    await writeFile(draft, text, { flag: 'wx', mode: OWNER_ONLY, flush: true });
    // Unlike a renaming, this replaces nothing.
    await link(draft, file);
  } catch (error) {
    throw unusable(file, error as Error);
  } finally {
    await rm(draft, { force: true });
  }
  await syncFile(path.dirname(file));
}

/**
 * Writes small secrets, a file each, durably, into a folder that is not there yet: all of them or none.
 *
 * @param files names and texts
 * @throws BackupError PLACE_UNUSABLE, also when the folder is there and has something in it
 */
export async function writeSecretFolder(folder: string, files: ReadonlyMap<string, string>): Promise<void> {
  const whole = path.resolve(folder);
  const draft = `${whole}.part`;
  try {
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { mode: OWNER_ONLY_FOLDER });
    for (const [name, text] of files) {
      await writeFile(path.join(draft, name), text, { flag: 'wx', mode: OWNER_ONLY, flush: true });
    }
    await syncFile(draft);
    await rename(draft, whole);
  } catch (error) {
    throw unusable(folder, error as Error);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  await syncFile(path.dirname(whole));
}

/** Whether backups go into it under names of their own. */
export async function isDirectory(file: string): Promise<boolean> {
  return file.endsWith('/') || ((await stat(file).catch(() => undefined))?.isDirectory() ?? false);
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function unusable(file: string, cause: Error): BackupError {
  const { code } = cause as NodeJS.ErrnoException;
  const reason = REASONS[code ?? ''] ?? cause.message;
  return new BackupError('PLACE_UNUSABLE', `${file} cannot be used: ${reason}`, { cause });
}

const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'there is one already',
  ENOTEMPTY: 'there is something in it already',
  ENOENT: 'it is not there',
};
