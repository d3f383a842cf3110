/**
 * Whether a gRPC server of ours answers: asked the way that a load balancer would ask.
 */
import { connect } from 'node:http2';
import { HEALTH_NAME } from './health.ts';

/** How long the answer may take, in milliseconds. */
const TIMEOUT = 2000;

/** `HealthCheckRequest {}` in its frame: not compressed, no octets. */
const EMPTY_REQUEST = Buffer.alloc(5);

/** The last two octets of `HealthCheckResponse { SERVING }`. */
const SERVING = Buffer.from([0x08, 1]);

/** @throws Error, unless the server says in time that it serves */
export function checkHealth(url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    // It is ourselves that we ask, by an address that the certificate does not name.
    const session = connect(url, { rejectUnauthorized: false });
    const timer = setTimeout(() => end(new Error(`No answer in ${TIMEOUT / 1000} seconds`)), TIMEOUT);
    const end = (error?: Error) => {
      clearTimeout(timer);
      session.destroy();
      if (error) {
        reject(error);
      } else {
        resolve();
      }
    };
    session.on('error', end);
    const call = session.request({
      ':method': 'POST',
      ':path': `/${HEALTH_NAME}/Check`,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const answer: Buffer[] = [];
    call.on('error', end);
    call.on('data', (octets: Buffer) => answer.push(octets));
    call.on('end', () => {
      const serves = Buffer.concat(answer).subarray(EMPTY_REQUEST.length).equals(SERVING);
      end(serves ? undefined : new Error('Does not serve: its stores are away'));
    });
    call.end(EMPTY_REQUEST);
  });
}
