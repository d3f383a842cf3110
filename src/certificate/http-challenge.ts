/**
 * Answers the challenge by which an authority sees that a name leads here (RFC 8555, section 8.3): a small HTTP server, on
 * port 80 of the name, which lives as long as one order.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CertificateFault } from './certificate-fault.ts';

const PREFIX = '/.well-known/acme-challenge/';

/** How long a request may take, in milliseconds; strangers come by too. */
const REQUEST_TIMEOUT = 10_000;
const MOST_CONNECTIONS = 200;

export interface HttpChallenge extends AsyncDisposable {
  readonly port: number;
  /** Answers for this token, until it is disposed of. */
  answer(token: string, keyAuthorization: string): void;
}

/**
 * @param port 80 in the world; 0 takes any
 * @throws CertificateFault PORT_TAKEN, PORT_FORBIDDEN
 */
export async function openHttpChallenge(host: string, port: number): Promise<HttpChallenge> {
  const answers = new Map<string, string>();
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT, headersTimeout: REQUEST_TIMEOUT },
    (request, response) => {
      const path = request.url ?? '';
      const answer = path.startsWith(PREFIX) ? answers.get(path.slice(PREFIX.length)) : undefined;
      response
        .writeHead(answer === undefined ? 404 : 200, {
          'content-type': 'application/octet-stream',
          connection: 'close',
        })
        .end(answer);
    },
  );
  server.maxConnections = MOST_CONNECTIONS;
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    throw portFault(error as NodeJS.ErrnoException, port);
  }
  return {
    port: (server.address() as AddressInfo).port,
    answer: (token, keyAuthorization) => answers.set(token, keyAuthorization),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function portFault(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code === 'EADDRINUSE') {
    return new CertificateFault(
      'PORT_TAKEN',
      `Something else listens on port ${port}`,
      `Find it with: ss -ltnp sport = :${port}. A web server there must stop for the time being, or pass ${PREFIX} on to a port that ACME_HTTP_PORT names`,
      { cause: error },
    );
  }
  if (error.code === 'EACCES') {
    return new CertificateFault(
      'PORT_FORBIDDEN',
      `This user may not listen on port ${port}`,
      'Run it by its unit: systemctl start relay-gateway-certificate; or as root',
      { cause: error },
    );
  }
  return error;
}
