/** The program as operators run it. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { readConnectionParams } from '../../src/awala/connection-params.ts';
import { FREE_PORTS, projectRoot, type SpawnedGateway, spawnGateway, temporaryDirectory } from '../support/gateway.ts';

const run = promisify(execFile);

const launcher = path.join(projectRoot, 'bin/relay-gateway.js');

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
async function relayGateway(parameters: string[], environment: Record<string, string> = {}): Promise<Outcome> {
  const program = path.join(projectRoot, 'src/cli/main.ts');
  const options = { env: { PATH: process.env['PATH'], ...environment }, cwd: projectRoot, timeout: 30_000 };
  try {
    return { code: 0, ...(await run(process.execPath, [program, ...parameters], options)) };
  } catch (error) {
    return error as Outcome;
  }
}

function directoryOf(context: TestContext): string {
  const directory = temporaryDirectory();
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

suite('The program', () => {
  test('serves until SIGTERM, then ends clean, and keeps its identity', async (context) => {
    const directory = directoryOf(context);
    await using first = await spawnGateway({ directory });
    for (const url of [first.poweb, first.pohttp]) {
      assert.equal((await fetch(url)).status, 200);
    }
    const ping = await fetch(`${first.ops}/ping`);
    assert.equal(ping.status, 200);
    const checks = (await ping.json()) as { name: string; ok: boolean }[];
    assert.deepEqual(
      checks.map(({ name, ok }) => [name, ok]),
      [
        ['stores', true],
        ['poweb', true],
        ['pohttp', true],
        ['cogrpc', true],
        ['ops', true],
        ['internet-delivery', true],
        ['cargo-worker', true],
      ],
    );
    assert.deepEqual(await first.end('SIGTERM'), { code: 0, signal: null });
    assert.match(await first.errors, new RegExp(`is ready after \\d+ ms[^]*${first.nodeId}[^]*${first.poweb}`));

    await using second = await spawnGateway({ directory });
    assert.equal(second.nodeId, first.nodeId);
    assert.deepEqual(await second.end('SIGINT'), { code: 0, signal: null });
  });

  test('runs only the services that are chosen', async () => {
    await using gateway = await spawnGateway({ environment: { SERVICES: 'poweb,collection,worker,pohttp' } });
    assert.equal(gateway.cogrpc, '');
    assert.equal(gateway.ops, '');
    assert.equal((await fetch(gateway.pohttp)).status, 200);
  });

  test('starts again on the directory of one that was killed', async (context) => {
    const directory = directoryOf(context);
    await using killed = await spawnGateway({ directory });
    await killed.end('SIGKILL');
    assert.ok(statSync(path.join(directory, 'control.sock')).isSocket(), 'it left its socket');
    await using gateway = await spawnGateway({ directory });
    assert.equal(gateway.nodeId, killed.nodeId);
  });

  test('refuses a data directory that another gateway has', async (context) => {
    const directory = directoryOf(context);
    await using _gateway = await spawnGateway({ directory });
    const { code, stderr } = await relayGateway(['serve'], { DATA_DIR: directory, POWEB_PORT: '0', OPS_PORT: '0' });
    assert.equal(code, 1);
    assert.equal(stderr, `relay-gateway: Another gateway is running on data directory ${directory}\n`);
  });

  test('tells when a port is taken, and ends', async (context) => {
    const other = createServer().listen(0, '127.0.0.1');
    context.after(() => other.close());
    await once(other, 'listening');
    const { port } = other.address() as { port: number };
    const environment = { DATA_DIR: directoryOf(context), POWEB_PORT: '0', POHTTP_PORT: `${port}`, OPS_PORT: '0' };
    const { code, stderr } = await relayGateway(['serve'], environment);
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`^relay-gateway: .*address already in use.*${port}\n$`));
  });

  test('tells every fault of its configuration and touches nothing', async (context) => {
    const directory = directoryOf(context);
    const environment = { DATA_DIR: path.join(directory, 'data'), INTERNET_ADDRESS: 'localhost', OPS_PORT: 'many' };
    for (const command of ['serve', 'identity', 'config']) {
      const { code, stderr } = await relayGateway([command], environment);
      assert.equal(code, 2);
      assert.match(stderr, /INTERNET_ADDRESS[^\n]*\n[^\n]*OPS_PORT[^\n]*\n$/);
    }
    assert.throws(() => statSync(path.join(directory, 'data')), { code: 'ENOENT' });
  });

  test('ends at once on a second signal, while a request still holds up the first', async () => {
    await using gateway = await spawnGateway();
    using _request = await requestInHand(gateway.poweb);
    const { log } = await stopTwice(gateway);
    assert.deepEqual(await gateway.exited, { code: 1, signal: null });
    assert.equal(log.at(-1)?.msg, 'Ending at once');
  });

  test('takes a signal that comes twice at the same time, by npm and from the terminal, for one', async () => {
    await using gateway = await spawnGateway();
    // Standing still, it gets both at once.
    gateway.process.kill('SIGSTOP');
    gateway.process.kill('SIGINT');
    gateway.process.kill('SIGTERM');
    assert.deepEqual(await gateway.end('SIGCONT'), { code: 0, signal: null });
  });

  test('gives up what is in hand when the grace period is over', async () => {
    await using gateway = await spawnGateway({ environment: { GRACE_PERIOD: '200ms' } });
    using _request = await requestInHand(gateway.poweb);
    assert.deepEqual(await gateway.end('SIGTERM'), { code: 0, signal: null });
  });
});

suite('A log that cannot be written', () => {
  test('does not hold up the gateway, from its start to its end', async (context) => {
    const full = openSync('/dev/full', 'w');
    context.after(() => closeSync(full));
    const environment = { PATH: process.env['PATH'], ...FREE_PORTS, DATA_DIR: directoryOf(context) };
    const program = path.join(projectRoot, 'src/cli/main.ts');
    const gateway = spawn(process.execPath, [program, 'serve'], { env: environment, stdio: ['ignore', full, 'pipe'] });
    context.after(() => gateway.kill('SIGKILL'));
    const exited = once(gateway, 'exit');
    const told: string[] = [];
    let poweb: string | undefined;
    for await (const line of createInterface(gateway.stderr as Readable)) {
      told.push(line);
      poweb ??= line.match(/poweb +(http\S+)/)?.[1];
      if (poweb && told.some((each) => each.includes('the log cannot be written'))) {
        break;
      }
    }
    assert.ok(poweb);
    assert.equal((await fetch(poweb)).status, 200);
    gateway.kill('SIGTERM');
    assert.deepEqual(await exited, [0, null]);
  });
});

suite('A fault that nobody caught', () => {
  test('is logged and ends the program with code 1', async (context) => {
    const file = path.join(directoryOf(context), 'fault.mjs');
    writeFileSync(file, "process.on('SIGUSR2', () => { throw new Error('planted'); });");
    await using gateway = await spawnGateway({ environment: { NODE_OPTIONS: `--import=${file}` } });
    assert.deepEqual(await gateway.end('SIGUSR2'), { code: 1, signal: null });
    const line = await gateway.logged('Uncaught error');
    assert.equal((line['err'] as { message: string }).message, 'planted');
  });
});

suite('The identity command', () => {
  test('asks the gateway that runs, through a socket that only its user may open', async (context) => {
    const directory = directoryOf(context);
    await using gateway = await spawnGateway({ directory });
    assert.equal(statSync(path.join(directory, 'control.sock')).mode & 0o777, 0o600);
    const { code, stdout } = await relayGateway(['identity', '--json'], { DATA_DIR: directory });
    assert.equal(code, 0);
    const report = JSON.parse(stdout);
    assert.equal(report.nodeId, gateway.nodeId);
    const published = await fetch(`${gateway.poweb}/connection-params.der`);
    assert.equal(report.connectionParams, Buffer.from(await published.arrayBuffer()).toString('base64'));
  });

  test('opens the stores when no gateway runs, also beside the socket of one that was killed', async (context) => {
    const directory = directoryOf(context);
    await using gateway = await spawnGateway({ directory });
    await gateway.end('SIGKILL');
    const { code, stdout } = await relayGateway(['identity'], { DATA_DIR: directory });
    assert.equal(code, 0);
    assert.match(stdout, new RegExp(`Node id +${gateway.nodeId}`));
  });

  test('tells the certificates with their dates, and writes the connection parameters', async (context) => {
    const directory = directoryOf(context);
    const file = path.join(directory, 'connection-params.der');
    const environment = { DATA_DIR: directory, INTERNET_ADDRESS: 'relay.example.com' };
    const { code, stdout } = await relayGateway(['identity', '--json', '--connection-params', file], environment);
    assert.equal(code, 0);
    const report = JSON.parse(stdout);
    const [certificate] = report.certificates;
    assert.equal(certificate.nodeId, report.nodeId);
    assert.equal(certificate.issues, true);
    const days = (Date.parse(certificate.notAfter) - Date.parse(certificate.notBefore)) / 86_400_000;
    assert.equal(days, 180);
    assert.equal(readConnectionParams(readFileSync(file)).internetAddress, 'relay.example.com');
  });

  test('tells when the file cannot be written', async (context) => {
    const directory = directoryOf(context);
    const file = path.join(directory, 'nowhere/connection-params.der');
    const { code, stderr } = await relayGateway(['identity', '--connection-params', file], { DATA_DIR: directory });
    assert.equal(code, 1);
    assert.match(stderr, /no such file or directory/);
  });
});

suite('The config command', () => {
  test('prints every value and where it came from', async () => {
    const { code, stdout } = await relayGateway(['config'], { LOG_LEVEL: 'warn' });
    assert.equal(code, 0);
    assert.match(stdout, /^LOG_LEVEL +warn +environment$/m);
    assert.match(stdout, /^INTERNET_ADDRESS +gateway\.test +default$/m);
    assert.match(stdout, /^TLS_KEY_FILE +\(none\) +default$/m);
  });

  test('prints JSON for programs', async () => {
    const { stdout } = await relayGateway(['config', '--json'], { OPS_PORT: '9000' });
    const values = JSON.parse(stdout) as { variable: string }[];
    assert.deepEqual(
      values.find(({ variable }) => variable === 'OPS_PORT'),
      { variable: 'OPS_PORT', origin: 'environment', value: '9000' },
    );
  });
});

suite('The command line', () => {
  for (const parameters of [
    [],
    ['serv'],
    ['serve', 'extra'],
    ['identity', '--unknown'],
    ['identity', '--connection-params'],
  ]) {
    test(`refuses "${parameters.join(' ')}" with code 2 and tells of --help`, async () => {
      const { code, stderr } = await relayGateway(parameters);
      assert.equal(code, 2);
      assert.match(stderr, /--help|Usage/);
    });
  }

  for (const parameters of [['--help'], ['serve', '--help'], ['identity', '--help'], ['config', '--help']]) {
    test(`explains itself: ${parameters.join(' ')}`, async () => {
      const { code, stdout } = await relayGateway(parameters);
      assert.equal(code, 0);
      assert.match(stdout, /^Usage: relay-gateway/);
    });
  }

  test('tells the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(path.join(projectRoot, 'package.json'), 'utf8'));
    assert.equal((await relayGateway(['--version'])).stdout, `${version}\n`);
  });
});

suite('The launcher', () => {
  test('runs the command on this Node.js when it is new enough', async () => {
    const { stdout } = await run(process.execPath, [launcher, 'config'], { env: { LOG_LEVEL: 'error' } });
    assert.match(stdout, /^LOG_LEVEL +error +environment$/m);
  });

  test('runs the command on the Node.js of the package when this one is old', async (context) => {
    const old = olderNode(directoryOf(context), 'v20.0.0');
    const { stdout } = await run(process.execPath, ['--import', old, launcher, 'config'], {
      env: { LOG_LEVEL: 'error' },
    });
    assert.match(stdout, /^LOG_LEVEL +error +environment$/m);
  });

  test('passes on the exit code of the command', async (context) => {
    const old = olderNode(directoryOf(context), 'v20.0.0');
    await assert.rejects(run(process.execPath, ['--import', old, launcher, 'nonsense']), { code: 2 });
  });

  test('passes on signals to the gateway', async (context) => {
    const { launcherProcess, url } = await launch(context);
    const exit = once(launcherProcess, 'exit');
    launcherProcess.kill('SIGTERM');
    assert.deepEqual(await exit, [0, null]);
    await assert.rejects(fetch(url));
  });

  test('leaves no gateway behind when it is killed', async (context) => {
    const { launcherProcess, url } = await launch(context);
    // A connection that is open when the gateway ends: no need to guess when that is.
    const { port, hostname } = new URL(url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    const closed = new Promise((resolve) => socket.on('error', () => undefined).on('close', resolve));
    socket.resume();
    launcherProcess.kill('SIGKILL');
    await closed;
    await assert.rejects(fetch(url));
  });
});

/** Starts the gateway by the launcher under an old Node.js. */
async function launch(context: TestContext): Promise<{ launcherProcess: ChildProcess; url: string }> {
  const directory = directoryOf(context);
  const parameters = ['--import', olderNode(directory, 'v20.0.0'), launcher, 'serve'];
  const launcherProcess = spawn(process.execPath, parameters, {
    env: { ...FREE_PORTS, DATA_DIR: path.join(directory, 'data') },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  context.after(() => launcherProcess.kill('SIGKILL'));
  for await (const text of createInterface(launcherProcess.stdout)) {
    const line = JSON.parse(text) as { msg: string; listening: { ops: string } };
    if (line.msg === 'Ready') {
      return { launcherProcess, url: line.listening.ops };
    }
  }
  throw new Error('The gateway did not start');
}

/** Tells a gateway to stop, and again until it has ended. */
async function stopTwice(gateway: SpawnedGateway): Promise<SpawnedGateway> {
  let hasEnded = false;
  gateway.exited.then(() => {
    hasEnded = true;
  });
  while (!hasEnded) {
    gateway.process.kill('SIGTERM');
    await pause(50);
  }
  return gateway;
}

/** A request whose body the gateway waits for, in vain. */
async function requestInHand(service: string): Promise<Disposable> {
  const { port, hostname } = new URL(service);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  socket.write('POST /v1/nodes HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n');
  socket.write('Content-Type: application/vnd.awala.node-registration.request\r\n\r\n');
  // The gateway asks for the body.
  await once(socket, 'data');
  return { [Symbol.dispose]: () => socket.destroy() };
}

/** A module that makes Node.js believe, in the first process that imports it, that it is of another version. */
function olderNode(directory: string, version: string): string {
  const file = path.join(directory, 'older-node.mjs');
  writeFileSync(
    file,
    `const versions = { ...process.versions, node: ${JSON.stringify(version.slice(1))} };
     Object.defineProperty(process, 'versions', { value: versions });`,
  );
  return file;
}
