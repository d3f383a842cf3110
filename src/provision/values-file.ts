/** What an environment's file says to the chart: the values by which helmfile installs the gateway there. */
import { stringify } from 'yaml';
import { COMPONENTS, type Environment, type RequiredKey } from './environment.ts';
import { ringName } from './wants.ts';

/** YAML; see charts/relay-gateway/values.yaml. */
export function chartValues(environment: Environment): string {
  const { internetAddress, project, bucket, database, keys, redis, hosts, accounts } = environment;
  const keyOf = (use: RequiredKey['use']) => keys.find((key) => key.use === use)?.name ?? '';
  const account = (name: string) => ({ serviceAccount: { create: true, name } });
  const { firstCertificate, ...components } = Object.fromEntries(
    COMPONENTS.map((component) => [component, account(accounts[component])]),
  );
  const values = {
    mode: 'split',
    gateway: {
      settings: {
        INTERNET_ADDRESS: internetAddress,
        GCP_PROJECT: project,
        GCS_BUCKET: bucket,
        FIRESTORE_DATABASE: database,
        KMS_KEY_RING: ringName(environment),
        KMS_IDENTITY_KEY: keyOf('identity'),
        KMS_WRAPPING_KEY: keyOf('wrapping'),
      },
      secrets: { REDIS_URL: redis.secret },
    },
    components,
    firstCertificate,
    exposure: { hosts },
  };
  return stringify(values, { lineWidth: 0 });
}
