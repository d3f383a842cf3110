/**
 * What is wrong with a data directory on which no gateway runs: looked for without changing anything, and mended where
 * that loses nothing but what is lost already.
 */
import { existsSync, mkdirSync, statfsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Clock, Random, RecordCopy } from '../../gateway/ports.ts';
import {
  createPrivate,
  DataDirectoryError,
  formatFile,
  KEY_CONTEXT,
  keyFile,
  messagesFolder,
  readFormat,
  readKey,
  storeFiles,
  takeLock,
  writeFormat,
} from './directory.ts';
import type { Examination } from './examination.ts';
import { wrappingContext } from './identity-keys.ts';
import { LocalKeyWrapping } from './key-wrapping.ts';
import { finishRepair } from './repair.ts';
import { FORMAT, FORMER_FORMAT } from './schema.ts';
import { openRecordsSnapshot } from './snapshot.ts';
import { examinationThread } from './threads.ts';

/** Free octets below which nothing is mended: repairing a file writes it anew. */
const LEAST_FREE_OCTETS = 64 * 1024 * 1024;

export type DirectoryFaultCode =
  /** There is no directory, or no gateway in it. */
  | 'DIRECTORY_EMPTY'
  | 'DISK_FULL'
  | 'KEY_MISSING'
  /** Damaged, or of another directory. */
  | 'KEY_WRONG'
  | 'KEY_EXPOSED'
  /** Which format the directory has is not known; the stores are there. */
  | 'FORMAT_MISSING'
  /** Written by another version of the program. */
  | 'FORMAT_OTHER'
  | 'RECORDS_MISSING'
  | 'OBJECTS_MISSING'
  /** A file has pages that cannot be read, or indexes that do not lead to all rows. */
  | 'FILE_DAMAGED'
  /** Objects or records do not match their checksums. */
  | 'CONTENTS_DAMAGED'
  /** An identity key is not in the records, or does not open. */
  | 'IDENTITY_KEY_MISSING';

export interface DirectoryFault {
  readonly code: DirectoryFaultCode;
  /** One sentence, without anything secret. */
  readonly detail: string;
  /** What mends it: `mendDirectory` and a start; a backup; or else the operator. */
  readonly mend: 'recover' | 'restore' | 'operator';
}

export interface DirectoryExamination {
  readonly faults: readonly DirectoryFault[];
  /** What the stores hold; undefined where they could not be read. */
  readonly contents: Examination | undefined;
  /** The records that say what this directory may not be used for yet. */
  readonly records: readonly RecordCopy[];
}

/**
 * Looks for faults, with the directory locked, and changes nothing.
 *
 * @param hasOwnKeys whether identity keys are kept here (`KEYS=local`)
 * @throws DataDirectoryError DATA_DIR_IN_USE
 */
export async function examineDirectory(
  directory: string,
  { hasOwnKeys, clock, random }: { hasOwnKeys: boolean; clock: Clock; random: Random },
): Promise<DirectoryExamination> {
  const path = resolve(directory);
  const files = storeFiles(path);
  if (!existsSync(path) || ![...Object.values(files), formatFile(path), keyFile(path)].some(existsSync)) {
    const faults = [fault('DIRECTORY_EMPTY', `There is no gateway in ${path}`, 'restore')];
    return { faults, contents: undefined, records: [] };
  }
  const lock = takeLock(path);
  try {
    const faults = [...roomFaults(path), ...(await keyFaults(path, random)), ...fileFaults(path)];
    const isComplete = Object.values(files).every(existsSync);
    const contents = isComplete ? await examineContents(path, faults) : undefined;
    const isReadable = existsSync(files.records) && existsSync(keyFile(path));
    const records = isReadable ? await examineRecords(path, { hasOwnKeys, clock, random }, faults) : [];
    return { faults, contents, records };
  } finally {
    lock.close();
  }
}

/**
 * Puts back what a start needs and what can be made from the rest: an empty store of messages, the format's file. Files
 * whose pages are damaged are repaired by the start itself. Running it again does no harm.
 *
 * @returns what was done, a sentence each
 * @throws DataDirectoryError
 */
export async function mendDirectory(directory: string, random: Random): Promise<string[]> {
  const path = resolve(directory);
  const done: string[] = [];
  const lock = takeLock(path);
  try {
    const { objects, records } = storeFiles(path);
    const wrapping = new LocalKeyWrapping(readKey(path), random);
    finishRepair(objects);
    finishRepair(records);
    if (!existsSync(records)) {
      throw new DataDirectoryError('DATA_DIR_INCOMPLETE', `${records} is missing: restore it from a backup`);
    }
    if (!existsSync(objects)) {
      createPrivate(objects);
      done.push(`${objects} was made anew; the next start fills it from the log of messages`);
    }
    if (!existsSync(messagesFolder(path))) {
      mkdirSync(messagesFolder(path), { mode: 0o700 });
      done.push(`${messagesFolder(path)} was made anew: the messages that were in it are lost`);
    }
    if (!hasFormat(path)) {
      await writeFormat(path, wrapping);
      done.push(`${formatFile(path)} was written anew`);
    }
    return done;
  } finally {
    lock.close();
  }
}

function roomFaults(path: string): DirectoryFault[] {
  const { bavail, bsize } = statfsSync(path);
  const detail = `${Math.floor((bavail * bsize) / 1024 ** 2)} MiB are free on the volume of ${path}`;
  return bavail * bsize < LEAST_FREE_OCTETS ? [fault('DISK_FULL', detail, 'operator')] : [];
}

async function keyFaults(path: string, random: Random): Promise<DirectoryFault[]> {
  try {
    const wrapping = new LocalKeyWrapping(readKey(path), random);
    if (!hasFormat(path)) {
      return [];
    }
    const { keyCheck } = readFormat(path);
    await wrapping.unwrap(Buffer.from(keyCheck, 'base64'), KEY_CONTEXT);
    return [];
  } catch (error) {
    const code = error instanceof DataDirectoryError ? error.code : 'DATA_DIR_KEY_WRONG';
    const detail = error instanceof DataDirectoryError ? error.message : `${keyFile(path)} is of another directory`;
    switch (code) {
      case 'DATA_DIR_KEY_MISSING':
        return [fault('KEY_MISSING', detail, 'restore')];
      case 'DATA_DIR_KEY_EXPOSED':
        return [fault('KEY_EXPOSED', detail, 'operator')];
      default:
        return [fault('KEY_WRONG', detail, 'restore')];
    }
  }
}

function fileFaults(path: string): DirectoryFault[] {
  const faults: DirectoryFault[] = [];
  const { objects, records } = storeFiles(path);
  if (!existsSync(records)) {
    faults.push(fault('RECORDS_MISSING', `${records} is missing`, 'restore'));
  }
  if (!existsSync(objects)) {
    faults.push(
      fault('OBJECTS_MISSING', `${objects} is missing: it can be made anew from the log of messages`, 'recover'),
    );
  }
  const hasNoLog = hasFormat(path) && readFormat(path).format === FORMAT && !existsSync(messagesFolder(path));
  if (hasNoLog) {
    faults.push(fault('OBJECTS_MISSING', `${messagesFolder(path)} is missing: the messages in it are lost`, 'recover'));
  }
  if (!hasFormat(path)) {
    faults.push(fault('FORMAT_MISSING', `${formatFile(path)} is missing or damaged`, 'recover'));
  } else if (![FORMAT, FORMER_FORMAT].includes(readFormat(path).format)) {
    const detail = `${path} has format ${readFormat(path).format}; this program reads format ${FORMAT}`;
    faults.push(fault('FORMAT_OTHER', detail, 'operator'));
  }
  return faults;
}

async function examineContents(path: string, faults: DirectoryFault[]): Promise<Examination | undefined> {
  try {
    const found = await inThread(path);
    faults.push(...found.faults.map((detail) => fault('FILE_DAMAGED', detail, 'recover')));
    if (found.damaged > 0) {
      const detail = `${found.damaged} messages or records do not match their checksums`;
      faults.push(fault('CONTENTS_DAMAGED', detail, 'recover'));
    }
    return found;
  } catch (error) {
    faults.push(fault('FILE_DAMAGED', `The stores cannot be read: ${(error as Error).message}`, 'recover'));
    return undefined;
  }
}

function inThread(path: string): Promise<Examination> {
  return new Promise((settle, reject) => {
    const thread = examinationThread(path);
    thread.once('message', settle);
    thread.once('error', reject);
    thread.once('exit', (code) => reject(new Error(`exit code ${code}`)));
  });
}

/** Whether each identity key opens; gives the records of configuration, which others look into. */
async function examineRecords(
  path: string,
  { hasOwnKeys, clock, random }: { hasOwnKeys: boolean; clock: Clock; random: Random },
  faults: DirectoryFault[],
): Promise<RecordCopy[]> {
  const configuration: RecordCopy[] = [];
  const references: string[] = [];
  try {
    await using snapshot = openRecordsSnapshot(storeFiles(path).records, clock);
    for await (const record of snapshot.read()) {
      if (record.kind === 'configuration') {
        configuration.push(record);
      } else if (record.kind === 'identity-keys') {
        references.push(`${record.fields['reference']}`);
      }
    }
    const wrapping = new LocalKeyWrapping(readKey(path), random);
    const privateKeys = new Map(hasOwnKeys ? snapshot.privateKeys() : []);
    for (const reference of hasOwnKeys ? references : []) {
      const wrapped = privateKeys.get(reference);
      const opened = wrapped && (await wrapping.unwrap(wrapped, wrappingContext(reference)).catch(() => undefined));
      if (!opened) {
        const detail = `Identity key ${reference} is ${wrapped ? 'encrypted with another master key' : 'missing'}`;
        faults.push(fault('IDENTITY_KEY_MISSING', detail, 'restore'));
      }
      opened?.fill(0);
    }
  } catch (error) {
    if (!faults.some(({ code }) => code === 'FILE_DAMAGED' || code.startsWith('KEY_'))) {
      faults.push(fault('FILE_DAMAGED', (error as Error).message, 'recover'));
    }
  }
  return configuration;
}

function hasFormat(path: string): boolean {
  try {
    return existsSync(formatFile(path)) && readFormat(path).format > 0;
  } catch {
    return false;
  }
}

function fault(code: DirectoryFaultCode, detail: string, mend: DirectoryFault['mend']): DirectoryFault {
  return { code, detail, mend };
}
