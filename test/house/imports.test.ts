/** Imports point down only. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { importFaults } from './imports.ts';
import { sourceFiles } from './source-files.ts';

suite('Imports', () => {
  test('point down in every source file', () => {
    assert.deepEqual(importFaults(sourceFiles('src/**/*.ts')), []);
  });

  const planted: [path: string, text: string][] = [
    ['src/awala/x.ts', "import { a } from '../gateway/identity.ts';"],
    ['src/awala/x.ts', "import type { Clock } from '../gateway/ports.ts';"],
    ['src/awala/x.ts', "import { readFileSync } from 'node:fs';"],
    ['src/gateway/x.ts', "import {\n  a,\n  b,\n} from '../backends/local/local-backends.ts';"],
    ['src/gateway/x.ts', "export { a } from '../services/http/server.ts';"],
    ['src/gateway/x.ts', "import { createServer } from 'node:http';"],
    ['src/services/poweb/x.ts', "const a = await import('../../backends/local/local-backends.ts');"],
    ['src/services/poweb/x.ts', "import { readConfig } from '../../config.ts';"],
    ['src/workers/x.ts', "import '../backends/local/local-backends.ts';"],
    ['src/backends/local/x.ts', "import { a } from '../../gateway/mailbox.ts';"],
    ['src/compose.ts', "import { serve } from './cli/serve.ts';"],
    ['src/cli/x.ts', "import { Parcel } from '@relaycorp/relaynet-core';"],
    ['src/cli/x.ts', "import { startGateway } from '../../test/support/gateway.ts';"],
    ['src/loose.ts', ''],
  ];
  for (const [path, text] of planted) {
    test(`that point elsewhere are found: ${path}: ${text.replaceAll('\n', ' ')}`, () => {
      assert.equal(importFaults([{ path, text }]).length, 1);
    });
  }

  test('in comments do not count', () => {
    const text =
      "/**\n * from '../gateway/a.ts'\n */\n// import '../gateway/a.ts'\nexport const a = 1; // from 'node:fs'\n";
    assert.deepEqual(importFaults([{ path: 'src/awala/x.ts', text }]), []);
  });
});
