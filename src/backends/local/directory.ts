/**
 * The data directory: one gateway at a time, a format version, and the master key of its secrets.
 */

import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Random } from '../../gateway/ports.ts';
import { LocalKeyWrapping } from './key-wrapping.ts';
import { finishRepair } from './repair.ts';
import { type FileName, FORMAT, FORMER_FORMAT } from './schema.ts';
import { syncDirectory } from './sync-directory.ts';

export type DataDirectoryErrorCode =
  /** Another gateway runs on it. */
  | 'DATA_DIR_IN_USE'
  /** Not a directory, or it may not be read and written. */
  | 'DATA_DIR_UNUSABLE'
  /** Written by a program of another format, or its format file is missing or damaged. */
  | 'DATA_DIR_FORMAT_UNKNOWN'
  /** A store that was there is missing. */
  | 'DATA_DIR_INCOMPLETE'
  | 'DATA_DIR_KEY_MISSING'
  /** The key file is not the one that the stored secrets were encrypted with. */
  | 'DATA_DIR_KEY_WRONG'
  /** Others than the owner may read the key file. */
  | 'DATA_DIR_KEY_EXPOSED';

/** A data directory that the gateway cannot start on. */
export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError';
  readonly code: DataDirectoryErrorCode;

  constructor(code: DataDirectoryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const KEY_OCTETS = 32;
/** What the proof of the master key in the format's file is tied to. */
export const KEY_CONTEXT = 'data-directory';
const KEY_TEXT = /^[0-9a-f]{64}\n?$/;

export class DataDirectory {
  /** Absolute. */
  readonly path: string;
  readonly wrapping: LocalKeyWrapping;
  readonly storeFiles: Readonly<Record<FileName, string>>;
  /** The folder of the log of messages. */
  readonly messages: string;
  readonly reserveFile: string;
  private readonly lock: DatabaseSync;

  private constructor(path: string, wrapping: LocalKeyWrapping, lock: DatabaseSync) {
    this.path = path;
    this.wrapping = wrapping;
    this.storeFiles = storeFiles(path);
    this.messages = messagesFolder(path);
    this.reserveFile = join(path, 'reserve');
    this.lock = lock;
  }

  /**
   * Takes the directory for this process, making it if it is not there.
   *
   * @throws DataDirectoryError
   */
  static async open(directory: string, random: Random): Promise<DataDirectory> {
    const path = resolve(directory);
    let lock: DatabaseSync | undefined;
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      lock = takeLock(path);
      Object.values(storeFiles(path)).forEach(finishRepair);
      const wrapping = existsSync(formatFile(path)) ? await openKey(path, random) : await initialize(path, random);
      return new DataDirectory(path, wrapping, lock);
    } catch (error) {
      lock?.close();
      if (error instanceof DataDirectoryError) {
        throw error;
      }
      const reason = error instanceof Error ? error.message : String(error);
      throw new DataDirectoryError('DATA_DIR_UNUSABLE', `Data directory ${path} cannot be used: ${reason}`, {
        cause: error,
      });
    }
  }

  /** Says that the stores are of this program's format: older programs must not open them any more. */
  async upgrade(): Promise<void> {
    if (readFormat(this.path).format !== FORMAT) {
      await writeFormat(this.path, this.wrapping);
    }
  }

  /** Lets another process have it. */
  release(): void {
    this.lock.close();
  }
}

/**
 * Gives a directory its master key before there is anything in it, for a backup that is to be restored there. One that
 * has just this key already stays as it is.
 *
 * @param masterKey 32 octets
 * @throws DataDirectoryError DATA_DIR_IN_USE, DATA_DIR_KEY_WRONG when it has another key, DATA_DIR_UNUSABLE
 */
export async function giveMasterKey(directory: string, masterKey: Buffer): Promise<void> {
  const path = resolve(directory);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const lock = takeLock(path);
  try {
    if (!existsSync(keyFile(path))) {
      if (existsSync(formatFile(path))) {
        throw new DataDirectoryError(
          'DATA_DIR_KEY_MISSING',
          `${path} was in use before: restore into another directory`,
        );
      }
      writeDurably(keyFile(path), `${masterKey.toString('hex')}\n`);
    } else if (!readKey(path).equals(masterKey)) {
      throw new DataDirectoryError(
        'DATA_DIR_KEY_WRONG',
        `${path} has another master key: restore into another directory`,
      );
    }
  } finally {
    lock.close();
  }
}

/**
 * The master key of a directory, which another process may have in use. Secret.
 *
 * @throws DataDirectoryError
 */
export async function readMasterKey(directory: string, random: Random): Promise<Buffer> {
  const path = resolve(directory);
  if (!existsSync(formatFile(path))) {
    throw new DataDirectoryError('DATA_DIR_UNUSABLE', `There is no gateway in data directory ${path}`);
  }
  await openKey(path, random);
  return readKey(path);
}

/**
 * SQLite's exclusive lock on a file of its own: the kernel drops it when the process ends, however it ends, so that
 * none is ever stale.
 *
 * @returns what is to be closed in the end
 * @throws DataDirectoryError DATA_DIR_IN_USE
 */
export function takeLock(path: string): DatabaseSync {
  const file = join(path, 'lock');
  createPrivate(file);
  const lock = new DatabaseSync(file, { timeout: 0 });
  try {
    lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    const SQLITE_BUSY = 5;
    if (((error as { errcode?: number }).errcode ?? 0) % 256 === SQLITE_BUSY) {
      throw new DataDirectoryError('DATA_DIR_IN_USE', `Another gateway is running on data directory ${path}`);
    }
    throw error;
  }
}

/** A new directory: first the key, then the format file that says that all is there. */
async function initialize(path: string, random: Random): Promise<LocalKeyWrapping> {
  if (Object.values(storeFiles(path)).some((file) => existsSync(file) && statSync(file).size > 0)) {
    throw new DataDirectoryError(
      'DATA_DIR_FORMAT_UNKNOWN',
      `Data directory ${path} has stores but no ${formatFile(path)}: restore it from a backup`,
    );
  }
  if (!existsSync(keyFile(path))) {
    writeDurably(keyFile(path), `${random(KEY_OCTETS).toString('hex')}\n`);
  }
  for (const file of Object.values(storeFiles(path))) {
    createPrivate(file);
  }
  mkdirSync(messagesFolder(path), { recursive: true, mode: 0o700 });
  const wrapping = new LocalKeyWrapping(readKey(path), random);
  await writeFormat(path, wrapping);
  return wrapping;
}

/** Says that all is there, and under which key; durable when it resolves. */
export async function writeFormat(path: string, wrapping: LocalKeyWrapping): Promise<void> {
  const keyCheck = (await wrapping.wrap(Buffer.alloc(0), KEY_CONTEXT)).toString('base64');
  writeDurably(formatFile(path), `${JSON.stringify({ format: FORMAT, keyCheck })}\n`);
}

async function openKey(path: string, random: Random): Promise<LocalKeyWrapping> {
  const { format, keyCheck } = readFormat(path);
  if (format !== FORMAT && format !== FORMER_FORMAT) {
    throw new DataDirectoryError(
      'DATA_DIR_FORMAT_UNKNOWN',
      `Data directory ${path} has format ${format}; this program reads formats ${FORMER_FORMAT} and ${FORMAT}`,
    );
  }
  for (const file of Object.values(storeFiles(path))) {
    if (!existsSync(file)) {
      throw new DataDirectoryError('DATA_DIR_INCOMPLETE', `${file} is missing: restore it from a backup`);
    }
  }
  if (format === FORMAT && !existsSync(messagesFolder(path))) {
    throw new DataDirectoryError('DATA_DIR_INCOMPLETE', `${messagesFolder(path)} is missing: restore it from a backup`);
  }
  const wrapping = new LocalKeyWrapping(readKey(path), random);
  try {
    await wrapping.unwrap(Buffer.from(keyCheck, 'base64'), KEY_CONTEXT);
  } catch (error) {
    throw new DataDirectoryError(
      'DATA_DIR_KEY_WRONG',
      `${keyFile(path)} is not the key that this directory's secrets were encrypted with`,
      { cause: error },
    );
  }
  return wrapping;
}

/** @throws DataDirectoryError DATA_DIR_FORMAT_UNKNOWN when it is damaged */
export function readFormat(path: string): { format: number; keyCheck: string } {
  try {
    const { format, keyCheck } = JSON.parse(readFileSync(formatFile(path), 'utf8')) as Record<string, unknown>;
    if (typeof format === 'number' && typeof keyCheck === 'string') {
      return { format, keyCheck };
    }
  } catch (error) {
    if (!(error instanceof SyntaxError)) {
      throw error;
    }
  }
  throw new DataDirectoryError('DATA_DIR_FORMAT_UNKNOWN', `${formatFile(path)} is damaged`);
}

/** The master key. Secret. @throws DataDirectoryError DATA_DIR_KEY_* */
export function readKey(path: string): Buffer {
  const file = keyFile(path);
  if (!existsSync(file)) {
    throw new DataDirectoryError('DATA_DIR_KEY_MISSING', `${file} is missing: without it no stored secret can be read`);
  }
  if ((statSync(file).mode & 0o077) !== 0) {
    throw new DataDirectoryError('DATA_DIR_KEY_EXPOSED', `${file} can be read by others: chmod 600 ${file}`);
  }
  const text = readFileSync(file, 'latin1');
  if (!KEY_TEXT.test(text)) {
    throw new DataDirectoryError('DATA_DIR_KEY_WRONG', `${file} is damaged: it should hold 64 hexadecimal digits`);
  }
  return Buffer.from(text.trim(), 'hex');
}

/** Under another name first, so that a crash leaves the whole file or none. */
function writeDurably(file: string, text: string): void {
  const draft = `${file}.new`;
  const fd = openSync(draft, 'w', 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  chmodSync(draft, 0o600);
  renameSync(draft, file);
  syncDirectory(dirname(file));
}

/** An empty file, where there is none, for its owner only. SQLite gives the files beside it the same mode. */
export function createPrivate(file: string): void {
  if (!existsSync(file)) {
    closeSync(openSync(file, 'a', 0o600));
    syncDirectory(dirname(file));
  }
}

/** Where the stores of a directory are. @param path of the directory */
export function storeFiles(path: string): Record<FileName, string> {
  return { objects: join(path, 'objects.sqlite'), records: join(path, 'records.sqlite') };
}

/** The folder of the log of messages. @param path of the data directory */
export function messagesFolder(path: string): string {
  return join(path, 'messages');
}

/** Which format the directory has, and a proof of its master key. */
export function formatFile(path: string): string {
  return join(path, 'format.json');
}

/** The master key's file. */
export function keyFile(path: string): string {
  return join(path, 'master.key');
}
