/** A gRPC call by Node's own HTTP/2 client, which shows headers and trailers as they are. */
import { once } from 'node:events';
import { connect, type IncomingHttpHeaders } from 'node:http2';

export interface RawAnswer {
  readonly headers: IncomingHttpHeaders;
  /** Empty where the status came with the headers. */
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Calls a method without sending a message, and waits for the end. @param path `/SERVICE/METHOD` */
export async function callRawly(url: string, path: string, metadata: Record<string, string>): Promise<RawAnswer> {
  const session = connect(url);
  try {
    const call = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...metadata,
    });
    let trailers: IncomingHttpHeaders = {};
    call.on('trailers', (received) => {
      trailers = received;
    });
    const body: Buffer[] = [];
    call.on('data', (octets: Buffer) => body.push(octets));
    const [headers] = (await once(call, 'response')) as [IncomingHttpHeaders];
    if (!call.readableEnded) {
      await once(call, 'end');
    }
    return { headers, trailers, body: Buffer.concat(body) };
  } finally {
    session.destroy();
  }
}
