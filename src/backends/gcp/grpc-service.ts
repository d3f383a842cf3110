/**
 * A service of Google's over gRPC: the messages as its package has generated them, on grpc-js, with Google's credentials.
 *
 * The generated client itself is not used: in each start it makes code of the whole definition of its service, also for calls that
 * nobody makes, which takes longer than all else of the start (docs/performance.md).
 */
import { stringify } from 'node:querystring';
import { type ChannelCredentials, Client, credentials, Metadata } from '@grpc/grpc-js';
import { GoogleAuth } from 'google-auth-library';
import { LateError } from './calls.ts';
import { CHANNEL } from './channel.ts';

/** A class of messages that protobuf.js has generated. */
interface MessageClass<Fields> {
  new (fields?: Fields): object;
  fromObject(object: Record<string, unknown>): object;
  encode(message: never): { finish(): Uint8Array };
  decode(octets: Uint8Array): object;
  toObject(message: never, options: object): object;
}

/** A method of a service. */
export interface Method<Request extends object, Answer extends object> {
  readonly path: string;
  readonly serialize: (request: Request) => Buffer;
  readonly deserialize: (octets: Buffer) => Answer;
}

/** One call. */
export interface CallOptions {
  /** How long it may take, in milliseconds; looking for credentials counts. */
  readonly timeout: number;
  /** Fields of the request that the service routes it by. Source: https://google.aip.dev/4222 */
  readonly routing: Readonly<Record<string, string>>;
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** As the generated clients read: integers of 64 bits and enumerations as strings, what was not sent with its default. */
const READING = { longs: String, enums: String, defaults: true, oneofs: true };

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';

const TLS_PORT = 443;
const PLAIN_PORT = 80;

/**
 * @param path `/PACKAGE.SERVICE/METHOD`
 * @param request the class of what is asked, and `answer` of what is answered
 */
export function method<Request extends object, Answer extends object>(
  path: string,
  request: MessageClass<Request>,
  answer: MessageClass<Answer>,
): Method<Request, Answer> {
  return {
    path,
    serialize: (object) =>
      request.encode(request.fromObject(object as Record<string, unknown>) as never).finish() as Buffer,
    deserialize: (octets) => answer.toObject(answer.decode(octets) as never, READING) as Answer,
  };
}

export class GrpcService implements AsyncDisposable {
  private readonly place: URL;
  private client: Promise<Client> | undefined;

  /** @param url `https://HOST[:PORT]`; with `http://`, without TLS and credentials */
  constructor(url: string) {
    this.place = new URL(url);
  }

  /** @throws LateError; ServiceError of grpc-js; whatever is wrong with the credentials */
  async ask<Request extends object, Answer extends object>(
    { path, serialize, deserialize }: Method<Request, Answer>,
    request: Request,
    options: CallOptions,
  ): Promise<Answer> {
    const { client, metadata, deadline } = await this.begin(options);
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, serialize, deserialize, request, metadata, { deadline }, (error, answer) =>
        error ? reject(error) : resolve(answer as Answer),
      );
    });
  }

  /** All that a method answers with that streams. @throws as `ask` does */
  async askForAll<Request extends object, Answer extends object>(
    { path, serialize, deserialize }: Method<Request, Answer>,
    request: Request,
    options: CallOptions,
  ): Promise<Answer[]> {
    const { client, metadata, deadline } = await this.begin(options);
    return Array.fromAsync<Answer>(
      client.makeServerStreamRequest(path, serialize, deserialize, request, metadata, { deadline }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    (await this.client?.catch(() => undefined))?.close();
  }

  private async begin({ timeout, routing, headers }: CallOptions) {
    const end = performance.now() + timeout;
    const client = await this.connected();
    const left = end - performance.now();
    if (left <= 0) {
      // Nobody waits for it any more: what was given up must not be done later.
      throw new LateError(timeout);
    }
    const metadata = new Metadata();
    metadata.set('x-goog-request-params', stringify(routing));
    for (const [name, value] of Object.entries(headers ?? {})) {
      metadata.set(name, value);
    }
    return { client, metadata, deadline: Date.now() + left };
  }

  /** Where no credentials were found, they are looked for anew. */
  private connected(): Promise<Client> {
    if (!this.client) {
      const client = this.connect();
      this.client = client;
      client.catch(() => {
        this.client = undefined;
      });
    }
    return this.client;
  }

  private async connect(): Promise<Client> {
    const { protocol, hostname, port } = this.place;
    const isPlain = protocol === 'http:';
    const address = `${hostname}:${port || (isPlain ? PLAIN_PORT : TLS_PORT)}`;
    // An answer may be as long as the service makes it.
    const options = { ...CHANNEL, 'grpc.max_receive_message_length': -1 };
    return new Client(address, isPlain ? credentials.createInsecure() : await googleCredentials(), options);
  }
}

/** Those of the environment: of a pod's account, or a key file. @throws Error where there are none */
async function googleCredentials(): Promise<ChannelCredentials> {
  const auth = new GoogleAuth({ scopes: SCOPE });
  // A key file's account signs its tokens itself, and need not ask for them.
  auth.useJWTAccessWithScope = true;
  const account = await auth.getClient();
  const ofCalls = credentials.createFromMetadataGenerator(({ service_url: url }, callback) => {
    account.getRequestHeaders(url).then(
      (headers) => {
        const metadata = new Metadata();
        headers.forEach((value, name) => {
          metadata.set(name, value);
        });
        callback(null, metadata);
      },
      (error) => callback(error as Error),
    );
  });
  return credentials.combineChannelCredentials(credentials.createSsl(), ofCalls);
}
