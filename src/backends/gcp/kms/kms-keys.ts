/**
 * The ports that keep keys, on Cloud KMS: identity keys and the wrapping of session keys.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  type Clock,
  type IdentityKeys,
  type KeyWrapping,
  type Random,
  type Records,
  StoreError,
} from '../../../gateway/ports.ts';
import type { CallBounds } from '../calls.ts';
import { DataKeys } from './data-keys.ts';
import { KmsError } from './errors.ts';
import { KmsIdentityKeys } from './identity-keys.ts';
import type { Labels } from './key-labels.ts';
import { KmsKeyWrapping } from './key-wrapping.ts';
import { KmsClient, type KmsKey } from './kms-client.ts';

export interface KmsKeysOptions {
  /** `projects/…/locations/…/keyRings/…` */
  readonly keyRing: string;
  /** Names, within the ring, of the key that signs and of the one that wraps. */
  readonly identityKey: string;
  readonly wrappingKey: string;
  readonly endpoint?: string | undefined;
  /** Whose keys these are: the gateway's Internet address, which stays. */
  readonly owner: string;
  /** Asked for when data keys are, so that they may still be opened. */
  readonly records: Records | Promise<Records>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: KmsLog | undefined;
  /** Milliseconds: how long to wait at the start for a KMS that is away. */
  readonly patience?: number;
  readonly bounds?: CallBounds;
}

export interface KmsLog {
  warn(fields: object, message: string): void;
}

export interface KmsKeys extends AsyncDisposable {
  readonly identityKeys: IdentityKeys;
  readonly wrapping: KeyWrapping;
  /** Of the key that signs, as they were at the start. */
  readonly labels: Labels;
  /** Resolves when KMS answers, or did so in the last minute. @throws KmsError, StoreError */
  check(): Promise<void>;
}

const PATIENCE = 60_000;

/** Between two attempts at the start, in milliseconds. */
const PAUSE = 1000;

/** For how long an answer counts, in milliseconds: probes come every few seconds, and each call is paid for. */
const CHECK_INTERVAL = 60_000;

/** How often data keys are looked over, in milliseconds, so that they leave the memory of an idle process too. */
const FORGETTING_INTERVAL = 30_000;

/**
 * Waits for KMS, where it is away, and makes sure that the two keys are what they must be.
 *
 * @throws KmsError in one line that names the setting, when a key is missing or of another purpose; StoreError
 */
export async function openKmsKeys(options: KmsKeysOptions): Promise<KmsKeys> {
  const { keyRing, clock, random, records, owner, endpoint, bounds } = options;
  await using opened = new AsyncDisposableStack();
  const kms = opened.use(new KmsClient({ endpoint, ...(bounds && { bounds }) }));
  const identityKey = `${keyRing}/cryptoKeys/${options.identityKey}`;
  const wrappingKey = `${keyRing}/cryptoKeys/${options.wrappingKey}`;
  const { labels } = await waitFor(async () => {
    const [identity, wrapping] = await Promise.allSettled([
      keyFor(kms, 'KMS_IDENTITY_KEY', identityKey, 'ASYMMETRIC_SIGN'),
      keyFor(kms, 'KMS_WRAPPING_KEY', wrappingKey, 'ENCRYPT_DECRYPT'),
    ]);
    for (const looked of [identity, wrapping]) {
      if (looked.status === 'rejected') {
        throw looked.reason;
      }
    }
    return (identity as PromiseFulfilledResult<KmsKey>).value;
  }, options);

  const dataKeys = new DataKeys({ kms, key: wrappingKey, owner, records, clock, random });
  const forgetting = setInterval(() => dataKeys.forgetOld(), FORGETTING_INTERVAL).unref();
  opened.defer(() => clearInterval(forgetting));
  let checked = performance.now();
  const resources = opened.move();
  return {
    identityKeys: new KmsIdentityKeys({ kms, key: identityKey }),
    wrapping: new KmsKeyWrapping(dataKeys, random),
    labels,
    async check() {
      if (performance.now() - checked >= CHECK_INTERVAL) {
        await kms.key(identityKey);
        checked = performance.now();
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Makes an attempt, again and again while KMS is away. */
async function waitFor<Outcome>(
  attempt: () => Promise<Outcome>,
  { patience = PATIENCE, log }: KmsKeysOptions,
): Promise<Outcome> {
  for (const end = performance.now() + patience; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof StoreError) || performance.now() + PAUSE > end) {
        throw error;
      }
      log?.warn({ reason: error.message }, 'Waiting for Cloud KMS');
      await delay(PAUSE);
    }
  }
}

/** @throws KmsError that names the setting, when it is not for that purpose */
async function keyFor(kms: KmsClient, variable: string, name: string, purpose: string): Promise<KmsKey> {
  let key: KmsKey;
  try {
    key = await kms.key(name);
  } catch (error) {
    if (error instanceof KmsError) {
      throw new KmsError(error.code, `${variable}: ${error.message}`, { cause: error });
    }
    throw error;
  }
  if (key.purpose !== purpose) {
    throw new KmsError('KMS_KEY_UNSUPPORTED', `${variable}: ${name} is for ${key.purpose}, and must be for ${purpose}`);
  }
  return key;
}
