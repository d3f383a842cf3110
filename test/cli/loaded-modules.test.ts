/** What a start loads: each command its own part of the program, and no library of what was not chosen. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { needsCloud, startCloud } from '../support/cloud.ts';
import { projectRoot, spawnGateway, temporaryDirectory } from '../support/gateway.ts';

const NODE_OPTIONS = `--import ${pathToFileURL(path.join(projectRoot, 'test/support/loaded-modules.ts'))}`;

/** Those that take long to load, or belong to what a gateway on embedded stores has no use for. */
const NOT_FOR_EMBEDDED_STORES =
  /src\/backends\/(gcp\/(?!kms\/key-labels)|redis\/)|src\/(backup|certificate|doctor|migration|provision|quickstart)\/|node_modules\/(@google-cloud\/|google-auth-library\/|@redis\/|redis\/|age-encryption\/|acme-client\/|@opentelemetry\/|yaml\/|pkijs\/|ajv\/|fast-json-stringify\/lib\/validator)/;

/**
 * What a process on a cloud needs at no start: the vendor's generated clients, of which it has the messages, what makes code of
 * definitions, and what builds and signs certificates. Each takes longer to load than all that is ours.
 */
const NOT_FOR_A_CLOUD_EITHER =
  /node_modules\/(google-gax\/build\/src\/(?!protobuf\.js)|@google-cloud\/(firestore-api|kms)\/(?!build\/protos\/protos\.js|package\.json)|@google-cloud\/firestore\/|@grpc\/proto-loader\/|protobufjs\/(?!minimal|src\/(index-minimal|reader|writer|rpc|roots|util\/))|pkijs\/|webcrypto-core\/|age-encryption\/|acme-client\/|yaml\/|ajv\/)/;

/** Modules of ours and of libraries: they are 710 to 850 by service. With the generated clients they were 1,000. */
const MOST_MODULES = 900;

/** The last lines of a list, as paths from the project's root. */
function pathsIn(file: string): string[] {
  const root = pathToFileURL(`${projectRoot}/`).href;
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((url) => url.startsWith(root))
    .map((url) => url.slice(root.length));
}

suite('Loaded modules', () => {
  test('of a gateway on embedded stores are none of a cloud, and none that only other commands need', async (context) => {
    const directory = temporaryDirectory();
    context.after(() => rmSync(directory, { recursive: true, force: true }));
    const file = path.join(directory, 'loaded');
    // The first start issues a certificate.
    for (const environment of [{}, { NODE_OPTIONS, LOADED_MODULES: file }]) {
      await using gateway = await spawnGateway({ directory, environment });
      assert.deepEqual(await gateway.end('SIGTERM'), { code: 0, signal: null });
    }
    const loaded = pathsIn(file);
    for (const needed of ['src/services/poweb/poweb.ts', 'src/backends/local/records.ts', 'src/cli/serve.ts']) {
      assert.ok(loaded.includes(needed), needed);
    }
    assert.deepEqual(
      loaded.filter((module) => NOT_FOR_EMBEDDED_STORES.test(module)),
      [],
    );
  });

  test(
    'of the processes of a split gateway are none of clients that they do not use',
    needsCloud(),
    async (context) => {
      await using cloud = await startCloud();
      const directory = temporaryDirectory();
      context.after(() => rmSync(directory, { recursive: true, force: true }));
      const start = async (services: string, environment: Record<string, string> = {}) => {
        await using gateway = await spawnGateway({
          environment: { ...cloud.environment, SERVICES: services, ...environment },
        });
        assert.deepEqual(await gateway.end('SIGTERM'), { code: 0, signal: null });
      };
      // The first one issues a certificate.
      await start('poweb,ops');
      for (const service of ['poweb', 'collection', 'pohttp', 'cogrpc', 'worker']) {
        const file = path.join(directory, service);
        await start(`${service},ops`, { NODE_OPTIONS, LOADED_MODULES: file });
        const loaded = pathsIn(file);
        for (const needed of ['src/backends/gcp/firestore/records.ts', 'src/backends/gcp/kms/kms-keys.ts']) {
          assert.ok(loaded.includes(needed), `${service}: ${needed}`);
        }
        assert.deepEqual(
          loaded.filter((module) => NOT_FOR_A_CLOUD_EITHER.test(module)),
          [],
          service,
        );
        context.diagnostic(`${service}: ${loaded.length} modules`);
        assert.ok(loaded.length <= MOST_MODULES, `${service} loads ${loaded.length} modules`);
      }
    },
  );

  test('of a command are its own; help loads all commands', async (context) => {
    const directory = temporaryDirectory();
    context.after(() => rmSync(directory, { recursive: true, force: true }));
    const commandsOf = async (...parameters: string[]) => {
      const file = path.join(directory, 'loaded');
      const env = { PATH: process.env['PATH'], NODE_OPTIONS, LOADED_MODULES: file };
      const { stdout } = await promisify(execFile)(process.execPath, ['bin/relay-gateway.js', ...parameters], {
        cwd: projectRoot,
        env,
      });
      return { stdout, loaded: pathsIn(file).filter((module) => module.startsWith('src/cli/')) };
    };
    const queue = await commandsOf('queue', '--help');
    assert.match(queue.stdout, /Usage: relay-gateway queue/);
    assert.deepEqual(queue.loaded, ['src/cli/main.ts', 'src/cli/program.ts', 'src/cli/queue.ts', 'src/cli/table.ts']);
    const help = await commandsOf('--help');
    for (const command of ['serve', 'backup', 'rotate-key', 'ping', 'courier']) {
      assert.match(help.stdout, new RegExp(`^  ${command} `, 'm'));
    }
  });
});
