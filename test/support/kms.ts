/** Keys of a gateway in the KMS emulator, for tests. */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type KmsKeys, type KmsKeysOptions, openKmsKeys } from '../../src/backends/gcp/kms/kms-keys.ts';
import { machineRandom } from '../../src/machine.ts';
import { generateRsaKey, type KeySupply } from '../emulators/kms/key-store.ts';
import { KmsEmulator } from '../emulators/kms/kms-emulator.ts';
import { temporaryBackends } from './local-backends.ts';
import type { ManualClock } from './manual-clock.ts';

export const KEY_RING = 'projects/test/locations/europe-west1/keyRings/gateway';
export const IDENTITY_KEY = `${KEY_RING}/cryptoKeys/identity`;
export const WRAPPING_KEY = `${KEY_RING}/cryptoKeys/session-keys`;

const COMMITTED: Readonly<Record<number, readonly string[]>> = {
  2048: ['internet-gateway', 'other-internet-gateway', 'stranger'],
  3072: ['rsa-3072'],
  4096: ['rsa-4096'],
};

/** Gives the keys that are committed, which takes no time; new ones once those are used up. */
export function committedKeys(): KeySupply {
  const left = new Map(Object.entries(COMMITTED).map(([bits, names]) => [Number(bits), [...names]]));
  return async (bits) => {
    const name = left.get(bits)?.shift();
    return name === undefined ? generateRsaKey(bits) : committedKey(name);
  };
}

function committedKey(name: string): KeyObject {
  return createPrivateKey(readFileSync(path.join(import.meta.dirname, 'keys', `${name}.pem`)));
}

/** An emulator with the two keys that a gateway needs. */
export async function startKms(algorithm = 'RSA_SIGN_PSS_2048_SHA256', hasVersion = true): Promise<KmsEmulator> {
  const emulator = await KmsEmulator.start({ supply: committedKeys() });
  emulator.createKey(IDENTITY_KEY, 'ASYMMETRIC_SIGN', algorithm, hasVersion);
  emulator.createKey(WRAPPING_KEY, 'ENCRYPT_DECRYPT');
  return emulator;
}

export interface KmsRoom extends AsyncDisposable {
  readonly emulator: KmsEmulator;
  readonly keys: KmsKeys;
  readonly clock: ManualClock;
  /** Opens the keys once more, as another process does on the same records. */
  another(options?: Partial<KmsKeysOptions>): Promise<KmsKeys>;
}

/** Opens a gateway's keys, on records in a temporary folder; nothing is counted of what the opening itself costs. */
export async function openKmsRoom(options: Partial<KmsKeysOptions> = {}, kms = startKms()): Promise<KmsRoom> {
  await using opened = new AsyncDisposableStack();
  const emulator = opened.use(await kms);
  const { backends, clock } = opened.use(await temporaryBackends());
  const all: KmsKeysOptions = {
    keyRing: KEY_RING,
    identityKey: 'identity',
    wrappingKey: 'session-keys',
    endpoint: emulator.endpoint,
    owner: 'gateway.test',
    records: backends.records,
    clock,
    random: machineRandom,
    ...options,
  };
  const keys = opened.use(await openKmsKeys(all));
  emulator.resetCounts();
  const resources = opened.move();
  return {
    emulator,
    keys,
    clock,
    another: async (more) => resources.use(await openKmsKeys({ ...all, ...more })),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
