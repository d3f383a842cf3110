/** Values that operators may have, from the plainest to the oddest: what the chart's tests render. */

import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { projectRoot } from '../support/gateway.ts';

const ADDRESS = { INTERNET_ADDRESS: 'gateway.example.org' };
const HOSTS = { poweb: 'poweb.example.org', pohttp: 'pohttp.example.org', cogrpc: 'cogrpc.example.org' };

const CLOUD = {
  settings: {
    ...ADDRESS,
    GCP_PROJECT: 'relay-gateway-1234',
    GCS_BUCKET: 'relay-messages',
    KMS_KEY_RING: 'projects/p/locations/l/keyRings/r',
  },
  secrets: { REDIS_URL: { name: 'redis', key: 'url' } },
};

const EVERYTHING_WATCHED = {
  serviceMonitor: { enabled: true, interval: '15s', labels: { release: 'prometheus' } },
  prometheusRule: { enabled: true, labels: { release: 'prometheus' } },
  dashboards: { enabled: true },
};

/** By what they stand for. */
export const VALUE_SETS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'one pod': { gateway: { settings: ADDRESS } },
  'one pod on a claim made by hand, watched and backed up': {
    gateway: { settings: { ...ADDRESS, REGISTRATION_POLICY: 'allowlist', RECOVERY_PUBLIC_KEY: 'age1public' } },
    backup: { schedule: '17 */8 * * *', to: 'gs://relay-backups/' },
    rotateCertificate: { schedule: '37 4 * * 1' },
    components: { single: { persistence: { existingClaim: 'stores' } } },
    monitoring: EVERYTHING_WATCHED,
  },
  'one pod with TLS before load balancers': {
    gateway: { settings: ADDRESS, tls: { secretName: 'gateway-tls' } },
    exposure: { hosts: HOSTS },
    components: {
      single: { persistence: { storageClassName: 'premium', size: '1.5Ti' } },
      poweb: { service: { type: 'LoadBalancer', port: 443 } },
      pohttp: { service: { type: 'NodePort', port: 8443 } },
    },
  },
  'one pod behind an Ingress': {
    gateway: { settings: { ...ADDRESS, TRUSTED_PROXIES: '10.0.0.0/8' } },
    exposure: {
      kind: 'ingress',
      hosts: { ...HOSTS, pohttp: HOSTS.poweb },
      annotations: { 'cert-manager.io/cluster-issuer': 'acme' },
      ingress: {
        className: 'nginx',
        tlsSecretName: 'public-tls',
        cogrpcAnnotations: { 'nginx.ingress.kubernetes.io/backend-protocol': 'GRPC' },
      },
    },
  },
  'one pod on GKE': {
    gateway: { settings: ADDRESS, tls: { secretName: 'gateway-tls' } },
    exposure: { kind: 'gke', hosts: HOSTS, gke: { staticIpName: 'relay' } },
  },
  'one pod with its messages and keys in the cloud': {
    gateway: {
      settings: { ...CLOUD.settings, OBJECT_STORE: 'gcs', KEYS: 'gcp-kms', MAILBOX_PARCELS: 10_000_000 },
    },
  },
  split: { mode: 'split', gateway: CLOUD },
  'split on GKE, scaled, watched and visited by the doctor': {
    mode: 'split',
    gateway: { ...CLOUD, tls: { secretName: 'gateway-tls' } },
    exposure: { kind: 'gke', hosts: HOSTS },
    pods: {
      autoscaling: { enabled: true },
      serviceAccount: { annotations: { 'iam.gke.io/gcp-service-account': 'a@b' } },
    },
    monitoring: EVERYTHING_WATCHED,
    doctor: { schedule: '17 3 * * *' },
  },
  'split behind a Gateway, backed up': {
    mode: 'split',
    gateway: { ...CLOUD, settings: { ...CLOUD.settings, RECOVERY_PUBLIC_KEY: 'age1public' } },
    backup: {
      schedule: '17 */8 * * *',
      to: 'gs://relay-backups/split/',
      serviceAccount: { create: false, name: 'by-hand' },
    },
    exposure: {
      kind: 'gatewayApi',
      hosts: HOSTS,
      gatewayApi: { parentRefs: [{ name: 'public', namespace: 'ingress', sectionName: 'https' }] },
    },
    rotateCertificate: { schedule: '37 4 * * 1' },
    components: { worker: { serviceAccount: { create: false, name: 'by-hand' } } },
  },
  'split, where each key is said for one component': {
    mode: 'split',
    gateway: CLOUD,
    components: {
      poweb: {
        replicas: 7,
        probes: { readiness: { periodSeconds: 9 } },
        spreadByZone: false,
        labels: { team: 'relay' },
      },
      collection: {
        drain: { waitSeconds: 30, graceSeconds: 600 },
        settings: { COLLECTION_MAX_AGE: '1h', CONNECTIONS_PER_PORT: 50_000 },
      },
      pohttp: { autoscaling: { enabled: true, cpuPercent: 55, maxReplicas: 3 } },
      cogrpc: { affinity: { nodeAffinity: {} }, nodeSelector: { disk: 'fast' }, priorityClassName: 'high' },
      worker: {
        autoscaling: { enabled: true, cpuPercent: null, externalMetric: { matchLabels: { queue: 'internet' } } },
        resources: { limits: { memory: '2Gi' } },
      },
      ops: { tolerations: [{ key: 'spot', operator: 'Exists' }], annotations: { note: 'true' } },
    },
  },
  'an image by its digest, from a registry with a password': {
    gateway: { settings: ADDRESS },
    image: {
      repository: 'registry.example.org/relay/gateway',
      digest: `sha256:${'0123456789abcdef'.repeat(4)}`,
      pullPolicy: 'Always',
      pullSecrets: ['registry'],
    },
  },
  'without policies of the network, under the longest of names': {
    gateway: { settings: ADDRESS },
    fullnameOverride: 'a-gateway-with-a-very-long-name-indeed-1',
    networkPolicy: { enabled: false },
  },
  'with clients, watchers and ways out of its own': {
    mode: 'split',
    gateway: CLOUD,
    nameOverride: 'awala',
    networkPolicy: {
      clients: [{ namespaceSelector: { matchLabels: { role: 'ingress' } } }],
      monitors: [{ namespaceSelector: { matchLabels: { role: 'monitoring' } } }],
      redisPort: 6380,
      extraEgress: [{ to: [{ ipBlock: { cidr: '10.1.2.3/32' } }], ports: [{ port: 4443 }] }],
    },
    firstCertificate: { enabled: false },
  },
};

/** What the helmfile gives the chart, by environment. */
export const ENVIRONMENTS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = Object.fromEntries(
  ['development', 'staging', 'production'].map((name) => {
    const file = path.join(projectRoot, 'charts/environments', `${name}.yaml`);
    return [name, (parse(readFileSync(file, 'utf8')) as { gateway: Record<string, unknown> }).gateway];
  }),
);
