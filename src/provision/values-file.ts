/** What an environment's file says to helmfile: the values by which it installs the gateway there. */
import { stringify } from 'yaml';
import { componentsOf, type Environment, type RequiredKey } from './environment.ts';
import { ringName } from './wants.ts';

/** What one pod is told whose keys are on its volume; where a gateway is split, the chart says where things are. */
const ONE_POD = { OBJECT_STORE: 'gcs', RECORDS: 'firestore', KEYS: 'local', SIGNALS: 'redis' };

/** YAML: under `gateway`, values of charts/relay-gateway, as in charts/environments; their Redis is not installed. */
export function helmfileValues(environment: Environment): string {
  const { internetAddress, project, bucket, database, keys, redis, hosts, accounts, areKeysLocal } = environment;
  const keyOf = (use: RequiredKey['use']) => keys.find((key) => key.use === use)?.name ?? '';
  const account = (name: string) => ({ serviceAccount: { create: true, name } });
  const { firstCertificate, backup, ...components } = Object.fromEntries(
    componentsOf(environment).map((component) => [component, account(accounts[component])]),
  );
  const inKms = {
    KMS_KEY_RING: ringName(environment),
    KMS_IDENTITY_KEY: keyOf('identity'),
    KMS_WRAPPING_KEY: keyOf('wrapping'),
  };
  const values = {
    mode: areKeysLocal ? 'single' : 'split',
    gateway: {
      settings: {
        INTERNET_ADDRESS: internetAddress,
        GCP_PROJECT: project,
        GCS_BUCKET: bucket,
        FIRESTORE_DATABASE: database,
        ...(areKeysLocal ? ONE_POD : inKms),
      },
      secrets: { REDIS_URL: redis.secret },
    },
    components,
    ...(firstCertificate && { firstCertificate }),
    backup,
    exposure: { hosts },
  };
  return stringify({ redis: { enabled: false }, gateway: values }, { lineWidth: 0 });
}
