/** Renderings of the last released chart, and what may not change after them: Kubernetes would refuse it. */
import type { Manifest } from '../../support/helm.ts';
import { VALUE_SETS } from '../value-sets.ts';

/** The files of this folder, with the values that they were rendered with. */
export const RELEASED = [
  { file: 'single.yaml', values: VALUE_SETS['one pod'] },
  { file: 'split.yaml', values: VALUE_SETS['split on GKE, scaled, watched and visited by the doctor'] },
] as const;

/** What may be changed of a StatefulSet's spec; all else is refused. */
const CHANGEABLE_OF_STATEFUL_SETS = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
];

/** The part of an object that stays as it was made. */
function immutablePart(manifest: Manifest): unknown {
  const spec = (manifest['spec'] ?? {}) as Readonly<Record<string, unknown>>;
  switch (manifest.kind) {
    case 'StatefulSet':
      return Object.fromEntries(Object.entries(spec).filter(([field]) => !CHANGEABLE_OF_STATEFUL_SETS.includes(field)));
    case 'Deployment':
      return { selector: spec['selector'] };
    case 'Service':
      return { isHeadless: spec['clusterIP'] === 'None' };
    case 'Job':
      // Those of hooks are deleted before they are made anew.
      return manifest.metadata.annotations?.['helm.sh/hook-delete-policy']?.includes('before-hook-creation')
        ? {}
        : { selector: spec['selector'], template: spec['template'] };
    case 'PersistentVolumeClaim':
      return spec;
    default:
      return {};
  }
}

const nameOf = ({ kind, metadata }: Manifest) => `${kind} ${metadata.name}`;

/** What an upgrade from one rendering to the other would stumble over, as lines for people. */
export function upgradeFaults(before: readonly Manifest[], after: readonly Manifest[]): string[] {
  const later = new Map(after.map((manifest) => [nameOf(manifest), manifest]));
  return before.flatMap((manifest) => {
    const next = later.get(nameOf(manifest));
    if (!next) {
      // Its volume, and the identity on it, would stay behind.
      return manifest.kind === 'StatefulSet' ? [`${nameOf(manifest)} is gone, and its stores with it`] : [];
    }
    const changes = [immutablePart(manifest), immutablePart(next)].map((part) => JSON.stringify(part));
    return changes[0] === changes[1] ? [] : [`${nameOf(manifest)} changes for good: ${changes.join(' to ')}`];
  });
}
