/**
 * The recovery key: a key pair of age (https://age-encryption.org/v1, X25519). Backups are encrypted to its public half;
 * its private half is kept offline, and the gateway never sees it.
 */
import { createHash } from 'node:crypto';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { BackupError } from './errors.ts';

/** Octets of the digest that names a key: enough that no two keys of one operator share it. */
const FINGERPRINT_OCTETS = 8;

const PRIVATE_HALF = /^AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}$/;

/** Both halves, as age writes them. */
export interface RecoveryKey {
  /** `AGE-SECRET-KEY-1…` Secret. */
  readonly privateHalf: string;
  /** `age1…` */
  readonly publicHalf: string;
}

export async function newRecoveryKey(): Promise<RecoveryKey> {
  const privateHalf = await generateX25519Identity();
  return { privateHalf, publicHalf: await identityToRecipient(privateHalf) };
}

/** A key file, as `age-keygen` writes it. @param created milliseconds */
export function writeKeyFile({ privateHalf, publicHalf }: RecoveryKey, created: number): string {
  return `# created: ${new Date(created).toISOString()}\n# public key: ${publicHalf}\n${privateHalf}\n`;
}

/**
 * Reads a key file: one private half, and comments.
 *
 * @throws BackupError RECOVERY_KEY_INVALID
 */
export async function readKeyFile(text: string): Promise<RecoveryKey> {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const [privateHalf] = keys;
  if (privateHalf === undefined || keys.length > 1 || !PRIVATE_HALF.test(privateHalf)) {
    throw new BackupError(
      'RECOVERY_KEY_INVALID',
      'This is no recovery key: its file has one line AGE-SECRET-KEY-1…, and comments',
    );
  }
  return readPrivateHalf(privateHalf);
}

/** @throws BackupError RECOVERY_KEY_INVALID */
export async function readPrivateHalf(privateHalf: string): Promise<RecoveryKey> {
  try {
    return { privateHalf, publicHalf: await identityToRecipient(privateHalf) };
  } catch {
    // What the library says may repeat the key.
    throw new BackupError('RECOVERY_KEY_INVALID', 'The recovery key is damaged: a character of it is wrong');
  }
}

/** Names a key without telling it: 16 hexadecimal digits of the SHA-256 of its public half's text. */
export function fingerprintOf(publicHalf: string): string {
  return createHash('sha256')
    .update(publicHalf)
    .digest('hex')
    .slice(0, 2 * FINGERPRINT_OCTETS);
}
