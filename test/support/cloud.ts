/** All that a gateway keeps elsewhere, on this machine: Redis, and emulators of Firestore, Cloud Storage and Cloud KMS. */
import type { TestOptions } from 'node:test';
import { type GcsEmulator, startGcsEmulator } from '../emulators/gcs/gcs-emulator.ts';
import type { KmsEmulator } from '../emulators/kms/kms-emulator.ts';
import { type FirestoreEmulator, needsFirestore, newProject, startFirestore } from './firestore-emulator.ts';
import { KEY_RING, startKms } from './kms.ts';
import { needsRedis, type RedisServer, startRedis } from './redis-server.ts';

/** Options for a test that needs all of them; skips it where one is missing. @throws Error in continuous integration */
export function needsCloud(): TestOptions {
  const redis = needsRedis();
  return redis.skip ? redis : needsFirestore();
}

export interface Cloud extends AsyncDisposable {
  readonly redis: RedisServer;
  readonly firestore: FirestoreEmulator;
  readonly gcs: GcsEmulator;
  readonly kms: KmsEmulator;
  /** Settings of a gateway that keeps everything there. */
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Starts them; each cloud has a bucket, a project and keys of its own.
 *
 * @param there what runs already, and stays
 * @param bucket its name
 */
export async function startCloud(
  there: Partial<Pick<Cloud, 'redis' | 'firestore' | 'kms'>> = {},
  bucket = 'messages',
): Promise<Cloud> {
  await using stack = new AsyncDisposableStack();
  const gcs = stack.use(await startGcsEmulator({ bucket }));
  const kms = there.kms ?? stack.use(await startKms());
  const redis = there.redis ?? stack.use(await startRedis());
  const firestore = there.firestore ?? stack.use(await startFirestore());
  const resources = stack.move();
  return {
    redis,
    firestore,
    gcs,
    kms,
    environment: {
      OBJECT_STORE: 'gcs',
      GCS_BUCKET: bucket,
      STORAGE_EMULATOR_HOST: gcs.url,
      RECORDS: 'firestore',
      GCP_PROJECT: newProject(),
      FIRESTORE_EMULATOR_HOST: firestore.host,
      KEYS: 'gcp-kms',
      KMS_KEY_RING: KEY_RING,
      KMS_ENDPOINT: kms.endpoint,
      SIGNALS: 'redis',
      REDIS_URL: redis.url,
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
