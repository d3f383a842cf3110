/** Where the services of the cloud are, for the vendors' clients. */
import { credentials } from '@grpc/grpc-js';
import { CHANNEL } from '../backends/gcp/channel.ts';

/** What a client of gRPC is made with; without TLS and credentials where the endpoint is `http://`. */
export function grpcPlace(endpoint: string | undefined) {
  if (endpoint === undefined) {
    return { ...CHANNEL };
  }
  const { protocol, hostname, port } = new URL(endpoint);
  const isPlain = protocol === 'http:';
  return {
    ...CHANNEL,
    apiEndpoint: hostname,
    port: Number(port) || (isPlain ? 80 : 443),
    // Nothing is looked for then that Google would know us by.
    ...(isPlain && { sslCreds: credentials.createInsecure(), clientOptions: { universeDomain: 'googleapis.com' } }),
  };
}

/** The code of gRPC for what is not there. */
const NOT_FOUND = 5;
/** The code of gRPC for what is there already: an earlier run made it, or an attempt that was not answered. */
const ALREADY_EXISTS = 6;

/** @returns undefined where there is none */
export async function unlessMissing<Value>(answer: Promise<Value>): Promise<Value | undefined> {
  return answer.catch((error) => {
    if ((error as { code?: unknown }).code === NOT_FOUND) {
      return undefined;
    }
    throw error;
  });
}

/** Takes what is there already for made. */
export async function unlessThere(answer: Promise<unknown>): Promise<void> {
  await answer.catch((error) => {
    if ((error as { code?: unknown }).code !== ALREADY_EXISTS) {
      throw error;
    }
  });
}
