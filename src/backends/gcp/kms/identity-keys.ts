/**
 * Identity keys in Cloud KMS: the versions of one key with the purpose ASYMMETRIC_SIGN. A reference is a version's name.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { IdentityKey, IdentityKeys } from '../../../gateway/ports.ts';
import { KmsError } from './errors.ts';
import type { KeyVersion, KmsClient } from './kms-client.ts';
import { kmsCrypto } from './kms-crypto.ts';
import { KmsPrivateKey } from './rsa-pss-key.ts';

/** How long a version may take to be generated, in milliseconds; those in an HSM take the longest. */
const GENERATION_BOUND = 120_000;

/** Pauses between two looks at a version that is being generated: from the first on they double. Milliseconds. */
const FIRST_LOOK = 100;
const LONGEST_LOOK = 2000;

const VERSION_NAME =
  /^(projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/[^/]+)\/cryptoKeyVersions\/(\d+)$/;

export class KmsIdentityKeys implements IdentityKeys {
  private readonly kms: KmsClient;
  private readonly key: string;
  private readonly generationBound: number;
  private readonly crypto: Crypto;
  /** By reference; public keys never change, so each is asked for once. */
  private readonly opened = new Map<string, Promise<IdentityKey>>();

  /** @param parts.key name of the key: `projects/…/cryptoKeys/…` */
  constructor(parts: { kms: KmsClient; key: string; generationBound?: number }) {
    this.kms = parts.kms;
    this.key = parts.key;
    this.generationBound = parts.generationBound ?? GENERATION_BOUND;
    this.crypto = kmsCrypto(parts.kms);
  }

  /**
   * Gives the newest version that is newer than all that were opened here, be it still in the making: one that the
   * deployment made, or another replica a moment ago. Where there is none, makes one.
   *
   * @throws KmsError, StoreError
   */
  async create(): Promise<IdentityKey> {
    const versions = await this.kms.versions(this.key);
    const newest = versions.filter(({ state }) => isUsable(state)).sort((a, b) => numberOf(b) - numberOf(a))[0];
    const isUnused = newest && [...this.opened.keys()].every((name) => !this.isAtLeast(name, numberOf(newest)));
    return this.open(isUnused ? newest.name : (await this.kms.createVersion(this.key)).name);
  }

  /** @throws KmsError KMS_KEY_NOT_FOUND, KMS_KEY_UNUSABLE, KMS_KEY_PENDING, KMS_KEY_UNSUPPORTED; StoreError */
  open(reference: string): Promise<IdentityKey> {
    const known = this.opened.get(reference);
    if (known) {
      return known;
    }
    const opening = this.load(reference);
    this.opened.set(reference, opening);
    opening.catch(() => this.opened.delete(reference));
    return opening;
  }

  private async load(reference: string): Promise<IdentityKey> {
    if (!VERSION_NAME.test(reference)) {
      throw new KmsError(
        'KMS_KEY_NOT_FOUND',
        `Identity key ${reference} is not in Cloud KMS: was it made with other KEYS?`,
      );
    }
    await this.generated(reference);
    const privateKey = await KmsPrivateKey.of(reference, await this.kms.publicKey(reference));
    const { spki, publicKey } = privateKey;
    return { reference, spki, privateKey: privateKey as CryptoKey, publicKey, crypto: this.crypto };
  }

  /** Resolves when the version can be used. */
  private async generated(reference: string): Promise<void> {
    const end = performance.now() + this.generationBound;
    for (let pause = FIRST_LOOK; ; pause = Math.min(pause * 2, LONGEST_LOOK)) {
      const { state } = await this.kms.version(reference);
      if (state === 'ENABLED') {
        return;
      }
      if (state !== 'PENDING_GENERATION') {
        throw new KmsError('KMS_KEY_UNUSABLE', `Key version ${reference} is ${state}`);
      }
      if (performance.now() + pause > end) {
        throw new KmsError('KMS_KEY_PENDING', `Key version ${reference} is still ${state}: try again later`);
      }
      await delay(pause);
    }
  }

  /** Whether this is a version of our key with this number or a later one. */
  private isAtLeast(name: string, number: number): boolean {
    return name.startsWith(`${this.key}/`) && numberOf({ name }) >= number;
  }
}

function isUsable(state: string): boolean {
  return state === 'ENABLED' || state === 'PENDING_GENERATION';
}

function numberOf({ name }: Pick<KeyVersion, 'name'>): number {
  return Number(VERSION_NAME.exec(name)?.[2]);
}
