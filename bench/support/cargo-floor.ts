/**
 * The least that cargo can cost, by CPU: AES-128-CBC and SHA-256 alone over as many octets, in the same process and in
 * turns with ours.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type PrivateKeyInput,
  randomBytes,
} from 'node:crypto';
import type { SigningKey } from '../../src/awala/signing-key.ts';
import { giveBack } from '../../src/gateway/give-back.ts';
import { newMachineKeyPair } from '../../src/machine.ts';
import { median } from './statistics.ts';

const MB = 1_000_000;

const ROUNDS = 5;

/** Rounds before anything counts, so that the code of both is compiled: gateways run for weeks. */
const WARM_UP_ROUNDS = 2;

/** What a case's process tells in the end. */
export interface Ratio {
  /** MB a second of CPU. */
  readonly pace: number;
  readonly ratio: number;
  /** To the floor and what each cargo needs besides, where that is told. */
  readonly ratioToDue?: number;
}

/**
 * Rounds of ours and of the floor over the same octets; the median of the rounds' ratios counts.
 *
 * @param options.piece up to how many octets the floor takes at a time: all of a cargo unless told. More than a MiB at a time
 *   costs it more a MiB, by fresh memory, so that it must not be more than ours takes
 * @param options.due what each cargo needs besides
 */
export async function againstFloor(
  round: () => Promise<{ sizes: readonly number[]; cpu: number }>,
  floor: (octets: Buffer) => void,
  options: { rounds?: number; warmUpRounds?: number; piece?: number; due?: () => Promise<void> } = {},
): Promise<Ratio> {
  const { rounds = ROUNDS, warmUpRounds = WARM_UP_ROUNDS, piece = Number.POSITIVE_INFINITY, due } = options;
  const ratios: number[] = [];
  const ratiosToDue: number[] = [];
  const paces: number[] = [];
  for (let count = -warmUpRounds; count < rounds; count++) {
    const { sizes, cpu } = await round();
    const messages = sizes.flatMap((size) => inPieces(size, piece)).map((size) => randomBytes(size));
    const floorCpu = await cpuOf(async () => messages.forEach(floor));
    // Nobody's work, and not to be swept up in the next round's time.
    messages.forEach(giveBack);
    const dueCpu = await cpuOf(async () => {
      for (const _ of sizes) {
        await due?.();
      }
    });
    if (count < 0) {
      continue;
    }
    ratios.push(floorCpu / cpu);
    ratiosToDue.push((floorCpu + dueCpu) / cpu);
    paces.push(sizes.reduce((sum, size) => sum + size, 0) / MB / (cpu / 1000));
  }
  return { ratio: median(ratios), ratioToDue: median(ratiosToDue), pace: median(paces) };
}

/** Octets of pieces of whole blocks. */
function inPieces(octets: number, most: number): number[] {
  const pieces = Math.max(1, Math.ceil(octets / most));
  return Array<number>(pieces).fill(16 * Math.floor(octets / pieces / 16));
}

const KEY = randomBytes(16);

export function encryptAndHash(octets: Buffer): void {
  const cipher = createCipheriv('aes-128-cbc', KEY, KEY);
  const ciphertext = cipher.update(octets);
  cipher.final();
  createHash('sha256').update(ciphertext).digest();
  giveBack(ciphertext);
}

export function hashAndDecrypt(octets: Buffer): void {
  createHash('sha256').update(octets).digest();
  const decipher = createDecipheriv('aes-128-cbc', KEY, KEY).setAutoPadding(false);
  giveBack(decipher.update(octets));
  decipher.final();
}

/** Milliseconds of CPU that some work takes, of all threads. */
export async function cpuOf(work: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** What each cargo needs whatever is in it: a new key, what it and the peer's agree on, and a signature. */
export async function signingAndAgreeing({ crypto, privateKey }: SigningKey): Promise<() => Promise<void>> {
  const peer = createPublicKey(createPrivateKey(await newPrivateKey()));
  return async () => {
    diffieHellman({ privateKey: createPrivateKey(await newPrivateKey()), publicKey: peer });
    await crypto.subtle.sign({ name: 'RSA-PSS', saltLength: 32 }, privateKey, Buffer.alloc(100));
  };
}

async function newPrivateKey(): Promise<PrivateKeyInput> {
  const { privateKey } = await newMachineKeyPair();
  return { key: privateKey, format: 'der', type: 'pkcs8' };
}
