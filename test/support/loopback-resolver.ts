/**
 * Stands on the loopback for the public DNS-over-HTTPS resolver that the official client asks and has no option for:
 * connections of this process to that host end here, and the client itself is unmodified.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { TlsCertificate } from './tls-certificate.ts';

/** The host of the client's resolver. */
export const RESOLVER_HOST = 'cloudflare-dns.com';

const HEADER_OCTETS = 12;

/** Flags of a header (RFC 1035, RFC 4035): response, recursion desired and available, authenticated data. */
const AUTHENTICATED_RESPONSE = 0x81a0;

const TYPE_SRV = 33;
const CLASS_IN = 1;

/** In place of a name: that of the question, right after the header (RFC 1035, section 4.1.4). */
const NAME_OF_QUESTION = 0xc000 | HEADER_OCTETS;

export interface LoopbackResolver extends AsyncDisposable {
  /** The names that were asked for. */
  readonly questions: readonly string[];
}

/**
 * Starts a resolver that answers every question with one SRV record, as authenticated.
 *
 * @param tls for `RESOLVER_HOST`, by an authority that this process trusts
 */
export async function startLoopbackResolver(
  tls: TlsCertificate,
  service: { readonly target: string; readonly port: number },
): Promise<LoopbackResolver> {
  const questions: string[] = [];
  const server = https.createServer(
    { cert: tls.certificate, key: readFileSync(tls.keyFile) },
    async (request, response) => {
      const query = await buffer(request);
      const question = readQuestion(query);
      questions.push(question.name);
      response.writeHead(200, { 'content-type': 'application/dns-message' }).end(answer(query, question.end, service));
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const usualAgent = https.globalAgent;
  https.globalAgent = new RedirectingAgent(port);
  return {
    questions,
    async [Symbol.asyncDispose]() {
      https.globalAgent = usualAgent;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Connects to a port of the loopback in place of the resolver; TLS is still with the resolver's name. */
class RedirectingAgent extends https.Agent {
  private readonly port: number;

  constructor(port: number) {
    super();
    this.port = port;
  }

  override createConnection(...[options, callback]: Parameters<https.Agent['createConnection']>) {
    const isResolver = options.host === RESOLVER_HOST;
    return super.createConnection(
      isResolver ? { ...options, host: '127.0.0.1', port: this.port, servername: RESOLVER_HOST } : options,
      callback,
    );
  }
}

function readQuestion(query: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = HEADER_OCTETS;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  // The empty label, then type and class.
  return { name: labels.join('.'), end: at + 5 };
}

function answer(query: Buffer, questionEnd: number, service: { target: string; port: number }): Buffer {
  const header = Buffer.alloc(HEADER_OCTETS);
  header.writeUInt16BE(query.readUInt16BE(0), 0);
  header.writeUInt16BE(AUTHENTICATED_RESPONSE, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 6);
  const labels = service.target.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`));
  const data = Buffer.concat([numbers(0, 0, service.port), ...labels, Buffer.alloc(1)]);
  const timeToLive = [0, 60];
  const record = numbers(NAME_OF_QUESTION, TYPE_SRV, CLASS_IN, ...timeToLive, data.length);
  return Buffer.concat([header, query.subarray(HEADER_OCTETS, questionEnd), record, data]);
}

/** As 16 bits each. */
function numbers(...values: number[]): Buffer {
  const octets = Buffer.alloc(values.length * 2);
  for (const [index, value] of values.entries()) {
    octets.writeUInt16BE(value, index * 2);
  }
  return octets;
}
