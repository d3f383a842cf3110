/** What stands in charts/environments and what `relay-gateway provision` writes for helmfile: the second goes over the first. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { parse } from 'yaml';
import { readConfig } from '../../src/config.ts';
import { COMPONENTS, ENVIRONMENT_NAMES, readEnvironment } from '../../src/provision/environment.ts';
import { helmfileValues } from '../../src/provision/values-file.ts';
import { projectRoot } from '../support/gateway.ts';
import { render } from '../support/helm.ts';
import { podsOf, propertyFaults } from './manifest-properties.ts';
import { schemaFaults } from './manifest-schemas.ts';

type Values = Readonly<Record<string, unknown>>;

const read = (file: string) => readFileSync(path.join(projectRoot, file), 'utf8');

const isMap = (value: unknown): value is Values => typeof value === 'object' && value !== null && !Array.isArray(value);

/** As helmfile lays one file of values over another. */
function overlay(base: Values, over: Values): Values {
  return {
    ...base,
    ...Object.fromEntries(
      Object.entries(over).map(([key, value]) => {
        const beneath = base[key];
        return [key, isMap(beneath) && isMap(value) ? overlay(beneath, value) : value];
      }),
    ),
  };
}

/** The places where both say something, and not the same. */
function contradictions(some: Values, others: Values, at = ''): string[] {
  return Object.entries(some).flatMap(([key, value]) => {
    const other = others[key];
    if (other === undefined) {
      return [];
    }
    const place = `${at}/${key}`;
    return isMap(value) && isMap(other)
      ? contradictions(value, other, place)
      : Object.is(value, other)
        ? []
        : [`${place}: ${value}, ${other}`];
  });
}

suite('An environment that was provisioned', { concurrency: 2 }, () => {
  for (const name of ENVIRONMENT_NAMES) {
    const environment = readEnvironment(`${name}.yaml`, read(`environments/${name}.yaml`), name);
    const provisioned = parse(helmfileValues(environment)) as Values;
    const standing = parse(read(`charts/environments/${name}.yaml`)) as Values;

    test(`is installed with what stands in charts/environments, and nothing taken out: ${name}`, async () => {
      const { gateway, redis } = overlay(standing, provisioned) as { gateway: Values; redis: { enabled: boolean } };
      assert.equal(redis.enabled, false);
      const manifests = await render({ values: gateway });
      assert.deepEqual(schemaFaults(manifests), []);
      assert.deepEqual(propertyFaults(manifests), []);
      // No right comes by another account than those that provision gives rights to.
      assert.doesNotMatch(JSON.stringify(manifests), /iam\.gke\.io/);
      const accounts = manifests.filter(({ kind }) => kind === 'ServiceAccount').map(({ metadata }) => metadata.name);
      const isBackedUp = name !== 'development';
      const named = COMPONENTS.filter((component) => component !== 'backup' || isBackedUp).map(
        (component) => environment.accounts[component],
      );
      assert.deepEqual(accounts.sort(), named.sort());
      assert.equal(podsOf(manifests).filter(({ isService }) => isService).length, 6);
    });
  }

  for (const name of ['staging', 'production'] as const) {
    test(`is backed up every 8 to 24 hours, to another bucket than that of its messages: ${name}`, async () => {
      const { gateway } = parse(read(`charts/environments/${name}.yaml`)) as {
        gateway: Values & { gateway: { settings: Record<string, string> } };
      };
      const job = (await render({ values: gateway })).find(
        ({ kind, metadata }) => kind === 'CronJob' && metadata.name.endsWith('-backup'),
      );
      const { schedule } = (job?.['spec'] ?? {}) as { schedule?: string };
      const [hours, period = '24'] = /^\d+ (?:\*\/(\d+)|\d+) \* \* \*$/.exec(schedule ?? '') ?? [];
      assert.ok(hours && Number(period) >= 8 && Number(period) <= 24, `${schedule}`);
      const { GCS_BUCKET: bucket, RECOVERY_PUBLIC_KEY: key = '' } = gateway.gateway.settings;
      assert.ok(!(gateway['backup'] as { to: string }).to.startsWith(`gs://${bucket}/`));
      // Whoever installs the example as it is must not get backups that nobody can open.
      assert.throws(() => readConfig({ RECOVERY_PUBLIC_KEY: key }), /RECOVERY_PUBLIC_KEY must be the public half/);
    });

    test(`has the names that the example in charts/environments has: ${name}`, () => {
      const environment = readEnvironment(`${name}.yaml`, read(`environments/${name}.yaml`), name);
      const provisioned = parse(helmfileValues(environment)) as Values;
      const standing = parse(read(`charts/environments/${name}.yaml`)) as Values;
      assert.deepEqual(contradictions(standing, provisioned), []);
      assert.deepEqual(contradictions(overlay(standing, { redis: { enabled: true } }), provisioned), [
        '/redis/enabled: true, false',
      ]);
    });
  }
});
