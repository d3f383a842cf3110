/** Kinds of other projects that the chart has objects of, on a cluster that lacks them: it takes such objects, and nobody acts on them. */
import { admin, apply } from './cluster.ts';

interface Kind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
}

const KINDS: readonly Kind[] = [
  { group: 'cloud.google.com', version: 'v1', kind: 'BackendConfig', plural: 'backendconfigs' },
  { group: 'networking.gke.io', version: 'v1beta1', kind: 'FrontendConfig', plural: 'frontendconfigs' },
  { group: 'networking.gke.io', version: 'v1', kind: 'ManagedCertificate', plural: 'managedcertificates' },
  { group: 'monitoring.coreos.com', version: 'v1', kind: 'ServiceMonitor', plural: 'servicemonitors' },
  { group: 'monitoring.coreos.com', version: 'v1', kind: 'PrometheusRule', plural: 'prometheusrules' },
];

/** What namespaces' owners may do with them: as those projects' own installations say. */
const RIGHTS = 'relay-gateway-foreign-kinds';

/** Makes those that there are not; they go with the test. What is in their objects is checked by `npm test`. */
export async function provideForeignKinds(): Promise<AsyncDisposable> {
  const there = (await admin('get', 'customresourcedefinitions', '--output=name')).split('\n');
  const missing = KINDS.filter(({ plural, group }) => !there.some((name) => name.endsWith(`/${plural}.${group}`)));
  await using stack = new AsyncDisposableStack();
  if (missing.length === 0) {
    return stack.move();
  }
  const names = missing.map(({ plural, group }) => `${plural}.${group}`);
  stack.defer(async () => {
    await admin('delete', 'clusterrole', RIGHTS, '--ignore-not-found');
    await admin('delete', 'customresourcedefinitions', ...names, '--ignore-not-found', '--wait', '--timeout=120s');
  });
  await apply(...missing.map(definition), {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: RIGHTS, labels: { 'rbac.authorization.k8s.io/aggregate-to-admin': 'true' } },
    rules: missing.map(({ group, plural }) => ({ apiGroups: [group], resources: [plural], verbs: ['*'] })),
  });
  await admin('wait', ...names.map((name) => `crd/${name}`), '--for=condition=Established', '--timeout=60s');
  return stack.move();
}

function definition({ group, version, kind, plural }: Kind): object {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      names: { kind, plural, singular: kind.toLowerCase() },
      scope: 'Namespaced',
      versions: [{ name: version, served: true, storage: true, schema }],
    },
  };
}
