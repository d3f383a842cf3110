/** What is installed is decided, to the version, and what runs at the installation too. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { projectRoot } from './source-files.ts';

interface Manifest {
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly allowScripts: Record<string, boolean>;
}

interface Lock {
  readonly packages: Record<string, { hasInstallScript?: boolean; dev?: boolean }>;
}

const read = (file: string): unknown => JSON.parse(readFileSync(path.join(projectRoot, file), 'utf8'));
const manifest = read('package.json') as Manifest;
const lock = read('package-lock.json') as Lock;

suite('Packages', () => {
  test('have exact versions', () => {
    const loose = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }).filter(
      ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
    );
    assert.deepEqual(loose, []);
  });

  test('run scripts at their installation only where that is decided, so that no npm stops to ask', () => {
    const scripted = Object.entries(lock.packages).filter(([, { hasInstallScript }]) => hasInstallScript);
    assert.deepEqual(
      scripted.map(([location]) => location.replace(/^.*node_modules\//, '')),
      Object.keys(manifest.allowScripts),
    );
  });

  test('of peers, which only measure the gateway, are not in what runs', () => {
    const running = Object.entries(lock.packages).filter(
      ([location, { dev }]) => location.includes('node_modules/@relaycorp/') && !dev,
    );
    assert.deepEqual(running, []);
  });
});
