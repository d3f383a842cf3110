/**
 * Makes `kubernetes.json` of the schemas that a tool such as openapi2jsonschema makes of Kubernetes' own OpenAPI document
 * (Apache-2.0): the kinds that the chart has, and what they refer to, without prose, each object closed.
 *
 *     npx node test/charts/schemas/trim.ts FOLDER VERSION
 *
 * FOLDER holds `_definitions.json`, strict, with `apiVersion` and `kind` as enumerations.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const KINDS = [
  'io.k8s.api.apps.v1.Deployment',
  'io.k8s.api.apps.v1.StatefulSet',
  'io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler',
  'io.k8s.api.batch.v1.CronJob',
  'io.k8s.api.batch.v1.Job',
  'io.k8s.api.core.v1.ConfigMap',
  'io.k8s.api.core.v1.Pod',
  'io.k8s.api.core.v1.Secret',
  'io.k8s.api.core.v1.Service',
  'io.k8s.api.core.v1.ServiceAccount',
  'io.k8s.api.networking.v1.Ingress',
  'io.k8s.api.networking.v1.NetworkPolicy',
  'io.k8s.api.policy.v1.PodDisruptionBudget',
];

interface Definition {
  readonly properties?: {
    readonly apiVersion?: { readonly enum?: readonly string[] };
    readonly kind?: { readonly enum?: readonly string[] };
  };
}

const [, , folder = '.', version = ''] = process.argv;
const source = JSON.parse(readFileSync(path.join(folder, '_definitions.json'), 'utf8')) as {
  definitions: Record<string, Definition>;
};

const definitions: Record<string, unknown> = {};
const kinds: Record<string, string> = {};

/** Takes a definition and all that it refers to. */
function take(name: string): void {
  if (name in definitions) {
    return;
  }
  definitions[name] = JSON.parse(
    JSON.stringify(source.definitions[name]).replaceAll('_definitions.json#/definitions/', '#/definitions/'),
    (key, value) =>
      key.startsWith('x-kubernetes-') || (key === 'format' && typeof value === 'string') ? undefined : value,
  );
  for (const [, other = ''] of JSON.stringify(definitions[name]).matchAll(/#\/definitions\/([^"]+)/g)) {
    take(other);
  }
}

for (const name of KINDS) {
  take(name);
  const { apiVersion, kind } = source.definitions[name]?.properties ?? {};
  kinds[`${apiVersion?.enum?.[0]} ${kind?.enum?.[0]}`] = name;
}

const lines = Object.entries(definitions)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, definition]) => `    ${JSON.stringify(name)}: ${JSON.stringify(definition)}`);
writeFileSync(
  path.join(import.meta.dirname, 'kubernetes.json'),
  `{\n  "version": ${JSON.stringify(version)},\n  "kinds": ${JSON.stringify(kinds)},\n  "definitions": {\n${lines.join(',\n')}\n  }\n}\n`,
);
