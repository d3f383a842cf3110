/**
 * A real certificate authority on the loopback: Pebble, which the makers of Let's Encrypt test clients with. All names
 * lead to this machine, by a DNS of the test's own.
 */
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { type Answer, decode, encode, RECURSION_AVAILABLE, RECURSION_DESIRED } from 'dns-packet';
import { Agent, fetch } from 'undici';
import { freePort } from './free-port.ts';
import { needsTool } from './needs-tool.ts';
import { newTlsCertificate, type TlsCertificate } from './tls-certificate.ts';

/** Options for tests that use it. */
export const NEEDS_ACME_SERVER = needsTool('pebble', 'apt-get install pebble');

const MINUTE = 60_000;

export interface AcmeServer extends AsyncDisposable {
  /** The port on which it looks for answers to its challenges, at 127.0.0.1; free. */
  readonly challengePort: number;
  /** Settings for its use, and for the trust in its own TLS and in what it issues. */
  readonly environment: Readonly<Record<string, string>>;
  /** Its own, for `localhost`, which is trusted with that environment. */
  readonly tls: Pick<TlsCertificate, 'certificateFile' | 'keyFile'>;
  /** Says that a name leads nowhere from now on. */
  forget(name: string): void;
}

export async function startAcmeServer(): Promise<AcmeServer> {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(path.join(tmpdir(), 'relay-gateway-acme-'));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const tls = stack.use(await newTlsCertificate('localhost'));
  const { dns, forget } = await startDns();
  stack.defer(async () => {
    dns.close();
    await once(dns, 'close');
  });
  const [port, managementPort, challengePort] = [await freePort(), await freePort(), await freePort()];
  const configFile = path.join(directory, 'pebble.json');
  const pebble = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${managementPort}`,
    certificate: tls.certificateFile,
    privateKey: tls.keyFile,
    httpPort: challengePort,
    tlsPort: 1,
    certificateValidityPeriod: 90 * 86_400,
    domainBlocklist: ['blocked-domain.example'],
  };
  writeFileSync(configFile, JSON.stringify({ pebble }));
  const server = spawn('pebble', ['-config', configFile, '-dnsserver', `127.0.0.1:${dns.address().port}`], {
    // Neither pauses nor the faults that it makes by chance.
    env: { PATH: process.env['PATH'], PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0', PEBBLE_AUTHZREUSE: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = () => server.kill('SIGKILL');
  process.once('exit', kill);
  stack.defer(async () => {
    process.off('exit', kill);
    if (server.exitCode === null && kill()) {
      await once(server, 'close');
    }
  });
  await isListening([server.stdout, server.stderr]);
  const trusting = new Agent({ connect: { ca: tls.certificate } });
  stack.defer(() => trusting.destroy());
  const root = await (await fetch(`https://localhost:${managementPort}/roots/0`, { dispatcher: trusting })).text();
  const trustFile = path.join(directory, 'trusted.pem');
  writeFileSync(trustFile, `${readFileSync(tls.certificateFile, 'utf8')}\n${root}`);
  const resources = stack.move();
  return {
    challengePort,
    environment: {
      ACME_DIRECTORY: `https://localhost:${port}/dir`,
      ACME_HTTP_PORT: `${challengePort}`,
      NODE_EXTRA_CA_CERTS: trustFile,
    },
    tls,
    forget,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** It says so for the last of its two ports when both listen. */
async function isListening(outputs: readonly NodeJS.ReadableStream[]): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const said: string[] = [];
  const timer = setTimeout(() => reject(new Error(`Pebble does not listen:\n${said.join('\n')}`)), MINUTE);
  for (const input of outputs) {
    createInterface(input).on('line', (line) => {
      said.push(line);
      if (/ACME directory available/.test(line)) {
        resolve();
      }
    });
  }
  await promise.finally(() => clearTimeout(timer));
}

/** A name server by which all names lead to 127.0.0.1, and have nothing else. */
async function startDns() {
  const forgotten = new Set<string>();
  const dns = createSocket('udp4', (query, from) => {
    const { id, questions = [] } = decode(query);
    const [question] = questions;
    const name = question?.name ?? '';
    const isKnown = question?.type === 'A' && !forgotten.has(name);
    const answers: Answer[] = isKnown ? [{ type: 'A', name, ttl: 1, data: '127.0.0.1' }] : [];
    const flags = RECURSION_DESIRED | RECURSION_AVAILABLE;
    dns.send(encode({ type: 'response', id, flags, questions, answers }), from.port, from.address);
  });
  dns.bind(0, '127.0.0.1');
  await once(dns, 'listening');
  return { dns, forget: (name: string) => void forgotten.add(name) };
}
