/**
 * Internet nodes for benchmarks, as a process of their own: PoHTTP servers on the loopback, some of them in trouble, and
 * the resolver that leads to them.
 *
 * Run with a description of what is wanted as its argument; prints one line of JSON when all listen, and ends with its
 * standard input.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { startTestResolver } from '../../test/support/test-resolver.ts';
import { newTlsCertificate } from '../../test/support/tls-certificate.ts';

/** How many nodes of each kind there are. */
export interface NodeCounts {
  readonly well: number;
  /** Take the connection and never speak. */
  readonly hanging?: number;
  /** Answer 503. */
  readonly failing?: number;
  /** Refuse connections. */
  readonly closed?: number;
}

export interface NodesDescription {
  readonly resolverUrl: string;
  /** PEM of the authority of all nodes. */
  readonly certificate: string;
  /** Internet addresses, by kind. */
  readonly addresses: Readonly<Record<keyof NodeCounts, readonly string[]>>;
  /** Host names and ports of those that are well. */
  readonly origins: readonly string[];
}

export interface InternetNodes extends NodesDescription, Disposable {}

/** Starts them in a process of their own. */
export async function spawnInternetNodes(counts: NodeCounts): Promise<InternetNodes> {
  const child: ChildProcess = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(counts)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface(child.stdout as NodeJS.ReadableStream), 'line');
  const description = JSON.parse(line as string) as NodesDescription;
  return { ...description, [Symbol.dispose]: () => child.kill() };
}

async function serve(counts: NodeCounts): Promise<NodesDescription> {
  const tls = await newTlsCertificate('*.nodes.example');
  const credentials = { cert: tls.certificate, key: readFileSync(tls.keyFile) };
  const resolver = await startTestResolver();
  const answering = (status: number) =>
    https.createServer({ ...credentials, keepAliveTimeout: 60_000 }, (request, response) => {
      request.resume().on('end', () => response.writeHead(status, { 'content-length': '0' }).end());
    });
  const addresses: Record<keyof NodeCounts, string[]> = { well: [], hanging: [], failing: [], closed: [] };
  const origins: string[] = [];
  for (const kind of ['well', 'hanging', 'failing', 'closed'] as const) {
    for (let number = 0; number < (counts[kind] ?? 0); number++) {
      const server = kind === 'well' ? answering(202) : kind === 'failing' ? answering(503) : createServer(() => {});
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      if (kind === 'closed') {
        server.close();
      }
      const host = `${kind}-${number}.nodes.example`;
      const address = `${kind}-${number}.example`;
      resolver.setServices(address, [{ target: host, port }]);
      resolver.setAddresses(host, ['127.0.0.1']);
      addresses[kind].push(address);
      if (kind === 'well') {
        origins.push(`https://${host}:${port}`);
      }
    }
  }
  return { resolverUrl: resolver.url, certificate: tls.certificate, addresses, origins };
}

if (import.meta.main) {
  console.log(JSON.stringify(await serve(JSON.parse(process.argv[2] ?? '{}') as NodeCounts)));
  process.stdin.on('end', () => process.exit()).resume();
}
