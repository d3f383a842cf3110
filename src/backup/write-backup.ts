/** Makes a backup: records to lines to octets that only the recovery key opens, as a stream. */
import { createHash } from 'node:crypto';
import { Encrypter } from 'age-encryption';
import type { RecordsSnapshot } from '../gateway/ports.ts';
import { isUnfinishedRestore, restoreUnfinished } from '../gateway/restoration.ts';
import { type BackupHeader, type Counts, type LocalKeys, writeEnd, writeHeader, writeRecord } from './backup-lines.ts';
import { BackupError } from './errors.ts';

/** Octets that are encrypted at once. */
const BATCH_OCTETS = 64 * 1024;

export interface BackupOptions {
  readonly id: string;
  readonly snapshot: RecordsSnapshot;
  readonly internetAddress: string;
  /** As the setting `KEYS`. */
  readonly keys: string;
  readonly localKeys?: LocalKeys | undefined;
  /** Public half of the recovery key. */
  readonly recipient: string;
  /** Called now and then with how many records are written. */
  readonly onProgress?: (records: number) => void;
}

/** What went into a backup that has been written to its end. */
export interface BackupContents {
  readonly counts: Counts;
  readonly records: number;
}

/**
 * A backup, encrypted.
 *
 * @returns the octets, to be read to their end; `contents` resolves then
 * @throws BackupError RECOVERY_KEY_INVALID; while it is read, StoreError, GatewayError RESTORE_UNFINISHED
 */
export async function writeBackup(
  options: BackupOptions,
): Promise<{ octets: ReadableStream<Uint8Array>; contents: () => BackupContents }> {
  const encrypter = new Encrypter();
  try {
    encrypter.addRecipient(options.recipient);
  } catch {
    throw new BackupError('RECOVERY_KEY_INVALID', 'RECOVERY_PUBLIC_KEY is damaged: a character of it is wrong');
  }
  const contents: { counts: Record<string, number>; records: number } = { counts: {}, records: 0 };
  const octets = await encrypter.encrypt(ReadableStream.from(batches(options, contents)));
  return { octets, contents: () => contents };
}

async function* batches(
  options: BackupOptions,
  contents: { counts: Record<string, number>; records: number },
): AsyncGenerator<Uint8Array> {
  const { id, snapshot, internetAddress, keys, localKeys, onProgress } = options;
  const digest = createHash('sha256');
  const header: BackupHeader = {
    ...{ id, instant: snapshot.instant, internetAddress, keys },
    ...(snapshot.count !== undefined && { records: snapshot.count }),
    ...(localKeys && { localKeys }),
  };
  let batch = writeHeader(header);
  for await (const record of snapshot.read()) {
    if (isUnfinishedRestore(record)) {
      throw restoreUnfinished();
    }
    contents.counts[record.kind] = (contents.counts[record.kind] ?? 0) + 1;
    contents.records++;
    batch += writeRecord(record);
    if (batch.length >= BATCH_OCTETS) {
      const octets = Buffer.from(batch);
      digest.update(octets);
      yield octets;
      batch = '';
      onProgress?.(contents.records);
    }
  }
  digest.update(batch);
  yield Buffer.from(batch + writeEnd({ counts: contents.counts, sha256: digest.digest('hex') }));
  onProgress?.(contents.records);
}
