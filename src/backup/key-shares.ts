/**
 * Shares of a recovery key, n of which k give it back (Shamir's secret sharing): a line of text each, for as many people
 * or safes.
 */
import { createHash } from 'node:crypto';
import { combine, split } from 'shamir-secret-sharing';
import type { Random } from '../gateway/ports.ts';
import { BackupError } from './errors.ts';
import { fingerprintOf, type RecoveryKey, readPrivateHalf } from './recovery-key.ts';

/** As many as the library can make. */
export const MOST_SHARES = 255;

const SET_OCTETS = 4;
const CHECK_DIGITS = 8;

const SHARE =
  /^(relay-gateway-share-1 key=(?<key>[0-9a-f]{16}) set=(?<set>[0-9a-f]{8}) share=(?<number>\d{1,3})\/(?<count>\d{1,3}) needed=(?<needed>\d{1,3}) (?<data>[0-9a-f]{2,1024})) (?<check>[0-9a-f]{8})$/;

interface Share {
  /** Fingerprint of the key. */
  readonly key: string;
  /** Tells the shares of one split from those of another: they do not go together. */
  readonly set: string;
  readonly number: number;
  readonly count: number;
  readonly needed: number;
  readonly data: Buffer;
}

/**
 * @param count how many shares, from `needed` to 255
 * @param needed how many of them give the key back, at least 2
 * @returns a line each
 */
export async function splitKey(
  { privateHalf, publicHalf }: RecoveryKey,
  { count, needed }: { count: number; needed: number },
  random: Random,
): Promise<string[]> {
  const parts = await split(new TextEncoder().encode(privateHalf), count, needed);
  const set = random(SET_OCTETS).toString('hex');
  return parts.map((part, index) => {
    const place = `share=${index + 1}/${count} needed=${needed}`;
    const data = Buffer.from(part).toString('hex');
    const text = `relay-gateway-share-1 key=${fingerprintOf(publicHalf)} set=${set} ${place} ${data}`;
    return `${text} ${checkOf(text)}`;
  });
}

/**
 * Puts a key together; the same share twice counts once.
 *
 * @param texts of share files: a line each, and comments
 * @throws BackupError RECOVERY_KEY_INVALID, SHARES_INSUFFICIENT
 */
export async function joinShares(texts: readonly string[]): Promise<RecoveryKey> {
  const lines = texts.flatMap((text) => text.split(/\r?\n/)).map((line) => line.trim());
  const all = lines.filter((line) => line !== '' && !line.startsWith('#')).map(readShare);
  const shares = [...new Map(all.map((share) => [`${share.set} ${share.number}`, share])).values()];
  const [first] = shares;
  if (!first) {
    throw new BackupError('SHARES_INSUFFICIENT', 'No shares of a recovery key were given');
  }
  if (shares.some(({ key, set }) => key !== first.key || set !== first.set)) {
    throw new BackupError('SHARES_INSUFFICIENT', 'These shares are of different keys, or of different splits of one');
  }
  if (shares.length < first.needed) {
    throw new BackupError('SHARES_INSUFFICIENT', `${first.needed} shares are needed, and ${shares.length} were given`);
  }
  const joined = await combine(shares.map(({ data }) => new Uint8Array(data)));
  const key = await readPrivateHalf(Buffer.from(joined).toString('latin1'));
  if (fingerprintOf(key.publicHalf) !== first.key) {
    throw new BackupError('RECOVERY_KEY_INVALID', 'These shares give another key than the one that was split');
  }
  return key;
}

function readShare(line: string): Share {
  const parts = SHARE.exec(line);
  const { key = '', set = '', number, count, needed, data = '', check } = parts?.groups ?? {};
  if (!parts || checkOf(parts[1] ?? '') !== check) {
    const hint = parts ? 'a character of it is wrong' : 'a share is one line that starts with relay-gateway-share-1';
    throw new BackupError('RECOVERY_KEY_INVALID', `This is no share of a recovery key: ${hint}`);
  }
  return {
    ...{ key, set, number: Number(number), count: Number(count), needed: Number(needed) },
    data: Buffer.from(data, 'hex'),
  };
}

/** Finds typing errors; what was changed on purpose the fingerprint finds. */
function checkOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, CHECK_DIGITS);
}
