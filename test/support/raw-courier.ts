/** A courier by Node's own HTTP/2 client, for what no proper client would do and for watching a call closely. */
import { EventEmitter, once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type Settings,
} from 'node:http2';
import { readCargoDeliveryAck, writeCargoDelivery } from '../../src/services/cogrpc/messages.ts';

const FRAME_OCTETS = 5;

/** A message in its frame: not compressed, its length, itself. */
export function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_OCTETS);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** A connection to a CogRPC server. */
export class RawCourier implements Disposable {
  readonly session: ClientHttp2Session;

  /** @param localAddress where its connection comes from */
  constructor(url: string, settings: Settings = {}, localAddress?: string) {
    this.session = connect(url, { settings, rejectUnauthorized: false, ...(localAddress && { localAddress }) });
    // Tests see what becomes of their calls.
    this.session.on('error', () => undefined);
  }

  /** Begins a call. @param name of the service */
  deliverCargo(metadata: Record<string, string> = {}, name = 'awala.cogrpc.CargoRelay'): RawCall {
    return new RawCall(
      this.session.request({
        ':method': 'POST',
        ':path': `/${name}/DeliverCargo`,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...metadata,
      }),
    );
  }

  [Symbol.dispose](): void {
    this.session.destroy();
  }
}

/** One call of DeliverCargo. */
export class RawCall {
  readonly stream: ClientHttp2Stream;
  /** Ids, in the order of their acknowledgements. */
  readonly acknowledged: string[] = [];
  private received = Buffer.alloc(0);
  private status: IncomingHttpHeaders = {};
  private readonly changes = new EventEmitter();
  private isOver = false;

  constructor(stream: ClientHttp2Stream) {
    this.stream = stream;
    stream.on('error', () => undefined);
    const take = (headers: IncomingHttpHeaders) => {
      if (headers['grpc-status'] !== undefined) {
        this.status = headers;
      }
    };
    stream.on('response', take);
    stream.on('trailers', take);
    stream.on('data', (octets: Buffer) => this.read(octets));
    // The server may end a call whose client would go on: that is the end of it, as gRPC has it.
    const end = () => {
      this.isOver = true;
      this.changes.emit('change');
      stream.close();
    };
    stream.on('end', end);
    stream.on('close', end);
  }

  /** Sends cargo; resolves when it went out. */
  async send(id: string, cargo: Buffer): Promise<void> {
    await this.write(frame(writeCargoDelivery({ id, cargo })));
  }

  /** Resolves when the octets went out. */
  async write(octets: Buffer): Promise<void> {
    await new Promise<void>((resolve) => {
      this.stream.write(octets, () => resolve());
    });
  }

  /** Resolves when so many deliveries have been acknowledged; rejects when the call ends before. */
  async acknowledgements(count: number): Promise<string[]> {
    while (this.acknowledged.length < count) {
      if (this.isOver) {
        throw new Error(`Call ended with status ${this.status['grpc-status']}`);
      }
      await once(this.changes, 'change');
    }
    return this.acknowledged;
  }

  /** Resolves with the status when the call has ended; -1 where there was none. */
  async ended(): Promise<number> {
    while (!this.isOver) {
      await once(this.changes, 'change');
    }
    return Number(this.status['grpc-status'] ?? -1);
  }

  private read(octets: Buffer): void {
    this.received = Buffer.concat([this.received, octets]);
    while (this.received.length >= FRAME_OCTETS) {
      const end = FRAME_OCTETS + this.received.readUInt32BE(1);
      if (this.received.length < end) {
        break;
      }
      this.acknowledged.push(readCargoDeliveryAck(this.received.subarray(FRAME_OCTETS, end)).id);
      this.received = this.received.subarray(end);
      this.changes.emit('change');
    }
  }
}
