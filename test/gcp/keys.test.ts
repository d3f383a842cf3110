/** Google's own Cloud KMS: identity keys and key wrapping keep their promises there. */
import { after, before, suite } from 'node:test';
import { openKmsKeys } from '../../src/backends/gcp/kms/kms-keys.ts';
import { machineRandom } from '../../src/machine.ts';
import { KeyRings } from '../../src/provision/key-rings.ts';
import type { WantedKey } from '../../src/provision/wants.ts';
import { identityKeysContract } from '../ports/identity-keys.contract.ts';
import { keyWrappingContract } from '../ports/key-wrapping.contract.ts';
import { temporaryBackends } from '../support/local-backends.ts';
import { setting } from './settings.ts';

/** Keys of the tests' own: KMS never deletes one, so all runs share them, and destroy the versions that they made. */
const IDENTITY_KEY = 'contract-tests-identity';
const WRAPPING_KEY = 'contract-tests-session-keys';

const keyRing = setting('GCP_TEST_KEY_RING');
const endpoint = process.env['KMS_ENDPOINT'];
const COMMON = { kind: 'key', protection: 'SOFTWARE', rotation: undefined, labels: {} } as const;
const KEYS: readonly WantedKey[] = [
  {
    name: `${keyRing}/cryptoKeys/${IDENTITY_KEY}`,
    purpose: 'ASYMMETRIC_SIGN',
    algorithm: 'RSA_SIGN_PSS_2048_SHA256',
    ...COMMON,
  },
  {
    name: `${keyRing}/cryptoKeys/${WRAPPING_KEY}`,
    purpose: 'ENCRYPT_DECRYPT',
    algorithm: 'GOOGLE_SYMMETRIC_ENCRYPTION',
    ...COMMON,
  },
];

suite("Google's Cloud KMS", () => {
  let rings: KeyRings;

  before(async () => {
    rings = new KeyRings(endpoint);
    for (const key of KEYS) {
      await rings.createKey(key, Date.now());
      await rings.ensureVersion(key.name);
    }
  });

  after(async () => {
    for (const { name } of KEYS) {
      const versions = (await rings.key(name))?.versions ?? [];
      for (const version of versions.filter(({ state }) => state === 'ENABLED')) {
        await rings.destroyVersion(version.name);
      }
    }
    await rings[Symbol.asyncDispose]();
  });

  async function open() {
    await using opened = new AsyncDisposableStack();
    const { backends, clock } = opened.use(await temporaryBackends());
    const keys = opened.use(
      await openKmsKeys({
        ...{ keyRing, identityKey: IDENTITY_KEY, wrappingKey: WRAPPING_KEY, endpoint, owner: 'contract.test' },
        ...{ records: backends.records, clock, random: machineRandom },
      }),
    );
    const resources = opened.move();
    return { ...keys, [Symbol.asyncDispose]: () => resources.disposeAsync() };
  }

  identityKeysContract("Google's Cloud KMS", open);
  keyWrappingContract("Google's Cloud KMS", open);
});
