/**
 * Records what the chart renders today, as what the next version must be able to follow: to be run at each release.
 *
 *     npx node test/charts/released/record.ts
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { template } from '../../support/helm.ts';
import { RELEASED } from './renderings.ts';

for (const { file, values } of RELEASED) {
  const { code, stdout, stderr } = await template({ values });
  if (code !== 0) {
    throw new Error(stderr);
  }
  writeFileSync(path.join(import.meta.dirname, file), stdout);
}
