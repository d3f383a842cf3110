/** Opens a backup: octets to lines to records, as a stream. Nothing in it is trusted: anybody can encrypt to a public key. */
import { createHash, type Hash } from 'node:crypto';
import { Decrypter } from 'age-encryption';
import type { RecordCopy } from '../gateway/ports.ts';
import { type BackupHeader, damaged, LONGEST_LINE, readHeader, readLine } from './backup-lines.ts';
import { BackupError } from './errors.ts';
import type { RecoveryKey } from './recovery-key.ts';

const LINE_FEED = 10;

/** As age says it. */
const WRONG_KEY = /no identity matched/;

export interface OpenBackup {
  readonly header: BackupHeader;
  /**
   * All records, to be read once.
   *
   * @throws BackupError BACKUP_DAMAGED, also at the end, when it was cut off or is not what it says; BACKUP_UNSUPPORTED
   */
  records(): AsyncGenerator<RecordCopy>;
}

/** @throws BackupError RECOVERY_KEY_WRONG, BACKUP_DAMAGED, BACKUP_UNSUPPORTED; whatever `octets` throws */
export async function openBackup(octets: ReadableStream<Uint8Array>, key: RecoveryKey): Promise<OpenBackup> {
  const decrypter = new Decrypter();
  decrypter.addIdentity(key.privateHalf);
  // What goes wrong at the place is told apart from what is wrong with the octets.
  let placeError: unknown;
  const opened = ReadableStream.from(
    (async function* () {
      try {
        yield* octets;
      } catch (error) {
        placeError = error;
        throw error;
      }
    })(),
  );
  const fail = (error: unknown): unknown => {
    if (placeError !== undefined || error instanceof BackupError) {
      return placeError ?? error;
    }
    if (WRONG_KEY.test((error as Error).message)) {
      return new BackupError('RECOVERY_KEY_WRONG', 'This backup was encrypted to another recovery key');
    }
    return damaged('it was changed or cut off, or is no backup', error);
  };
  const plain = await decrypter.decrypt(opened as ReadableStream<Uint8Array>).catch((error) => {
    throw fail(error);
  });
  const digest = createHash('sha256');
  const lines = linesOf(plain, digest);
  try {
    const first = await lines.next();
    if (first.done) {
      throw damaged('it is empty');
    }
    return { header: readHeader(first.value), records: () => records(lines, digest, fail) };
  } catch (error) {
    throw fail(error);
  }
}

async function* records(
  lines: AsyncGenerator<string>,
  digest: Hash,
  fail: (error: unknown) => unknown,
): AsyncGenerator<RecordCopy> {
  const counts: Record<string, number> = {};
  try {
    for await (const text of lines) {
      const read = readLine(text);
      if ('record' in read) {
        counts[read.record.kind] = (counts[read.record.kind] ?? 0) + 1;
        yield read.record;
        continue;
      }
      const isComplete = digest.digest('hex') === read.end.sha256 && areSame(counts, read.end.counts);
      if (!isComplete || !(await lines.next()).done) {
        throw damaged('what is in it is not what it says');
      }
      return;
    }
    throw damaged('its end is missing');
  } catch (error) {
    throw fail(error);
  }
}

/** Lines without their ends; `digest` is told of all but the last, which is of what was before it. */
async function* linesOf(octets: AsyncIterable<Uint8Array>, digest: Hash): AsyncGenerator<string> {
  let rest = Buffer.alloc(0);
  let pending: Buffer | undefined;
  for await (const piece of octets) {
    const all =
      rest.length === 0 ? Buffer.from(piece.buffer, piece.byteOffset, piece.length) : Buffer.concat([rest, piece]);
    let start = 0;
    for (let end = all.indexOf(LINE_FEED); end !== -1; end = all.indexOf(LINE_FEED, start)) {
      if (pending) {
        digest.update(pending);
      }
      pending = all.subarray(start, end + 1);
      yield all.toString('utf8', start, end);
      start = end + 1;
    }
    if (pending) {
      pending = Buffer.from(pending);
    }
    rest = Buffer.from(all.subarray(start));
    if (rest.length > LONGEST_LINE) {
      throw damaged('a line in it is too long');
    }
  }
  if (rest.length > 0) {
    throw damaged('its end is missing');
  }
}

function areSame(one: Readonly<Record<string, number>>, other: Readonly<Record<string, number | undefined>>): boolean {
  const names = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...names].every((name) => one[name] === other[name]);
}
