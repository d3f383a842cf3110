/** A DNS-over-HTTPS resolver (RFC 8484) on the loopback, without TLS, whose whole DNS is what a test sets. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { type Answer, AUTHENTIC_DATA, decode, encode, RECURSION_AVAILABLE, RECURSION_DESIRED } from 'dns-packet';

export interface TestAnswer {
  readonly records?: readonly Answer[];
  readonly authorities?: readonly Answer[];
  /** Whether the answer is authenticated (AD); so it is unless told otherwise. */
  readonly isAuthenticated?: boolean;
  /** Code of the answer (RFC 1035); 0, no error, unless told otherwise. */
  readonly code?: number;
}

export interface TestService {
  readonly target: string;
  readonly port: number;
  readonly priority?: number;
  readonly weight?: number;
}

export const NO_ERROR = 0;
export const SERVER_FAILURE = 2;
export const NO_NAME = 3;

const TIME_TO_LIVE = 60;

export interface TestResolver extends AsyncDisposable {
  readonly url: string;
  /** What was asked, such as `SRV _awala-pdc._tcp.example.com`. */
  readonly questions: readonly string[];
  /** What answers from now on; what was never set does not exist, which is authenticated. */
  set(name: string, type: 'SRV' | 'A' | 'AAAA', answer: TestAnswer): void;
  /** Sets the SRV records of an Internet address. */
  setServices(internetAddress: string, services: readonly TestService[], answer?: TestAnswer): void;
  /** Sets the network addresses of a host. */
  setAddresses(host: string, addresses: readonly string[]): void;
}

/** @param options.clockAhead how far its clock is ahead of this machine's, in milliseconds */
export async function startTestResolver({ clockAhead = 0 } = {}): Promise<TestResolver> {
  const answers = new Map<string, TestAnswer>();
  const questions: string[] = [];
  const server = createServer(async (request, response) => {
    const query = decode(await buffer(request));
    const [question] = query.questions ?? [];
    const asked = `${question?.type} ${question?.name}`;
    questions.push(asked);
    const {
      records = [],
      authorities = [],
      isAuthenticated = true,
      code = NO_ERROR,
    } = answers.get(asked) ?? {
      code: NO_NAME,
    };
    const message = encode({
      type: 'response',
      id: query.id,
      // The package has no field for the code: it is the last four bits of the flags.
      flags: RECURSION_DESIRED | RECURSION_AVAILABLE | (isAuthenticated ? AUTHENTIC_DATA : 0) | code,
      questions: query.questions,
      answers: [...records],
      authorities: [...authorities],
    });
    const date = new Date(Date.now() + clockAhead).toUTCString();
    response.writeHead(200, { 'content-type': 'application/dns-message', date }).end(message);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const resolver: TestResolver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/dns-query`,
    questions,
    set(name, type, answer) {
      answers.set(`${type} ${name}`, answer);
    },
    setServices(internetAddress, services, answer = {}) {
      const name = `_awala-pdc._tcp.${internetAddress}`;
      const records = services.map((data): Answer => ({ type: 'SRV', name, ttl: TIME_TO_LIVE, data }));
      resolver.set(name, 'SRV', { records, ...answer });
    },
    setAddresses(host, addresses) {
      for (const type of ['A', 'AAAA'] as const) {
        const ofType = addresses.filter((address) => address.includes(':') === (type === 'AAAA'));
        resolver.set(host, type, {
          records: ofType.map((data): Answer => ({ type, name: host, ttl: TIME_TO_LIVE, data })),
        });
      }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return resolver;
}
