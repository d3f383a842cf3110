/** Configuration to objects: keys in Cloud KMS. Loaded only where they are used. */
import { type KmsKeys, openKmsKeys } from '../backends/gcp/kms/kms-keys.ts';
import type { Config } from '../config.ts';
import type { Clock, Records } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';
import { machineRandom } from '../machine.ts';
import { rarely } from './patience.ts';

/** @throws Error in one line, when KMS cannot be reached within `START_PATIENCE`, or a key in it cannot be used */
export async function openKeys(
  config: Config,
  parts: { records: Promise<Records>; clock: Clock; log: Logger | undefined },
): Promise<KmsKeys> {
  if (config.kmsKeyRing === undefined) {
    throw new Error('KMS_KEY_RING must be set where KEYS is gcp-kms');
  }
  return openKmsKeys({
    keyRing: config.kmsKeyRing,
    identityKey: config.kmsIdentityKey,
    wrappingKey: config.kmsWrappingKey,
    endpoint: config.kmsEndpoint,
    owner: config.internetAddress,
    random: machineRandom,
    patience: config.startPatience,
    ...parts,
    log: rarely(parts.log),
  });
}
