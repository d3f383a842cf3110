/** Whoever has the last released chart can upgrade to this one. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { type Manifest, readManifests, render } from '../support/helm.ts';
import { RELEASED, upgradeFaults } from './released/renderings.ts';

const released = (file: string) =>
  readManifests(readFileSync(path.join(import.meta.dirname, 'released', file), 'utf8'));

suite('An upgrade from the last release', () => {
  for (const { file, values } of RELEASED) {
    test(`changes nothing that cannot be changed: ${file}`, async () => {
      const before = released(file);
      assert.ok(before.length > 0);
      assert.deepEqual(upgradeFaults(before, await render({ values })), []);
    });
  }

  const changes: Readonly<Record<string, [file: string, change: (text: string) => string]>> = {
    'another claim of a StatefulSet': ['single.yaml', (text) => text.replace('storage: 20Gi', 'storage: 30Gi')],
    'another service of a StatefulSet': ['single.yaml', (text) => text.replace(/serviceName: .*/, 'serviceName: pods')],
    'a StatefulSet of another name': [
      'single.yaml',
      (text) => text.replace(/(kind: StatefulSet\nmetadata:\n {2}name:) .*/, '$1 other'),
    ],
    'another selector of a Deployment': [
      'split.yaml',
      (text) =>
        text.replace(
          /(matchLabels:\n(.*\n){2} *app.kubernetes.io\/component: cogrpc\n {2}template)/,
          'matchLabels: {a: b}\n  template',
        ),
    ],
    'a headless Service': ['split.yaml', (text) => text.replace('type: ClusterIP', 'clusterIP: None')],
  };
  for (const [what, [file, change]] of Object.entries(changes)) {
    test(`is found to fail with ${what}`, () => {
      const text = readFileSync(path.join(import.meta.dirname, 'released', file), 'utf8');
      const after: Manifest[] = readManifests(change(text));
      assert.equal(upgradeFaults(released(file), after).length, 1);
    });
  }
});
