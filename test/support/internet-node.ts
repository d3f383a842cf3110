/** A node on the Internet, as a gateway finds it: by a resolver, over TLS. */
import { type Answering, type PoHttpReceiver, startPoHttpReceiver } from './pohttp-receiver.ts';
import { startTestResolver } from './test-resolver.ts';
import { newTlsCertificate } from './tls-certificate.ts';

/** Its Internet address. */
export const NODE_ADDRESS = 'endpoint.example';

const HOST = 'pohttp.endpoint.example';

export interface InternetNode extends AsyncDisposable {
  readonly receiver: PoHttpReceiver;
  /** Settings of a gateway that is to find it, and to trust it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Resolves when these octets have come, also when they came before. */
  arrivalOf(parcel: Buffer): Promise<void>;
}

/** Starts one; it takes all that comes, unless told otherwise. */
export async function startInternetNode(answering?: Answering): Promise<InternetNode> {
  await using stack = new AsyncDisposableStack();
  const tls = stack.use(await newTlsCertificate(HOST));
  const resolver = stack.use(await startTestResolver());
  const receiver = stack.use(await startPoHttpReceiver(tls, answering));
  resolver.setAddresses(HOST, ['127.0.0.1']);
  resolver.setServices(NODE_ADDRESS, [{ target: HOST, port: receiver.port }]);
  const resources = stack.move();
  return {
    receiver,
    environment: {
      RESOLVER_URL: resolver.url,
      ALLOW_PRIVATE_DESTINATIONS: 'true',
      NODE_EXTRA_CA_CERTS: tls.certificateFile,
    },
    async arrivalOf(parcel) {
      while (!receiver.posts.some(({ body }) => body.equals(parcel))) {
        await receiver.next();
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
