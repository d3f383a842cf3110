/** Whether manifests are what Kubernetes would take: checked against its schemas, without a cluster. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import type { Manifest } from '../support/helm.ts';
import { CUSTOM_RESOURCES } from './schemas/custom-resources.ts';

const { kinds, definitions } = JSON.parse(
  readFileSync(path.join(import.meta.dirname, 'schemas/kubernetes.json'), 'utf8'),
) as { kinds: Record<string, string>; definitions: Record<string, unknown> };

const ajv = new Ajv({ strict: false, allErrors: true });
const checks = new Map<string, ValidateFunction>();

function checkOf(key: string): ValidateFunction | undefined {
  const name = kinds[key];
  const schema = name === undefined ? CUSTOM_RESOURCES[key] : { $ref: `#/definitions/${name}` };
  if (schema && !checks.has(key)) {
    checks.set(key, ajv.compile({ ...schema, definitions }));
  }
  return checks.get(key);
}

/** What is wrong with each manifest, as lines for people; unknown kinds and two of one name are faults. */
export function schemaFaults(manifests: readonly Manifest[]): string[] {
  const seen = new Set<string>();
  return manifests.flatMap((manifest) => {
    const key = `${manifest.apiVersion} ${manifest.kind}`;
    const where = `${manifest.kind} ${manifest.metadata?.name}`;
    if (seen.has(where)) {
      return [`${where} is there twice`];
    }
    seen.add(where);
    const check = checkOf(key);
    if (!check) {
      return [`${where}: no schema of ${key}`];
    }
    check(manifest);
    // That a field which may be absent is not absent is no news.
    const told = check.errors?.filter(({ keyword, params }) => keyword !== 'oneOf' && params['type'] !== 'null') ?? [];
    return (told.length > 0 ? told : (check.errors ?? [])).map(
      ({ instancePath, message, params }) => `${where}: ${instancePath} ${message} ${JSON.stringify(params)}`,
    );
  });
}
