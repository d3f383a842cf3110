/**
 * Bounds on the calls of a gRPC server, as an interceptor. By itself, the library reads up to 16 messages ahead of
 * whoever handles them: with cargo, that would be 144 MiB a call.
 */
import { constants, type ServerHttp2Stream } from 'node:http2';
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  status,
} from '@grpc/grpc-js';
import { clientAddress } from '../http/addresses.ts';
import { type OpenCall, OpenCalls, type OpenCallsBounds } from './open-calls.ts';

type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];
type Status = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** What frames a message, in octets. */
const FRAME_OCTETS = 5;

/** How long a client has to take the status of a call that was cut, in milliseconds. */
const LAST_WORD_TIME = 1000;

export interface CallBounds extends OpenCallsBounds {
  /** Whose calls are those of many couriers, told apart by the forwarded header. */
  readonly isTrustedProxy: (address: string) => boolean;
  /** How long a call may wait for its client to send or to take a message, in milliseconds. */
  readonly idleTimeout: number;
  /** Methods, by the end of their path, whose next message is read only while fewer than so many wait for their answer. */
  readonly maxUnanswered: Readonly<Record<string, number>>;
}

/**
 * @param isExempt tells paths that are not bound
 * @returns an interceptor, to be given to one server
 */
export function boundCalls(bounds: CallBounds, isExempt: (path: string) => boolean): ServerInterceptor {
  const open = new OpenCalls(bounds);
  return ({ path }, call) => {
    if (isExempt(path)) {
      return new ServerInterceptingCall(call);
    }
    const method = path.slice(path.lastIndexOf('/') + 1);
    return new BoundedCall(call, open, bounds, bounds.maxUnanswered[method] ?? Number.POSITIVE_INFINITY);
  };
}

class BoundedCall extends ServerInterceptingCall implements OpenCall {
  hasBrought = false;
  active = performance.now();
  incomplete = 0;
  private readonly open: OpenCalls;
  private readonly bounds: CallBounds;
  private readonly maxUnanswered: number;
  private readonly stream: ServerHttp2Stream;
  private unanswered = 0;
  /** Octets of each message that has no answer yet. */
  private readonly inHand: number[] = [];
  /** The handler wants a message, and there are too many unanswered. */
  private isReadDue = false;
  /** The client has to send. */
  private isReading = false;
  /** Messages that the client has to take. */
  private sending = 0;
  private isOver = false;
  /** It ended before its handler knew of it. */
  private isRefused = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(call: ServerInterceptingCallInterface, open: OpenCalls, bounds: CallBounds, maxUnanswered: number) {
    super(call);
    this.open = open;
    this.bounds = bounds;
    this.maxUnanswered = maxUnanswered;
    this.stream = streamOf(call);
  }

  override start(listener: Listener): void {
    super.start({
      onReceiveMetadata: (metadata) => {
        const fault = this.open.enter(this, this.clientAddress(metadata));
        if (fault === undefined) {
          this.stream.on('data', (octets: Buffer) => this.countIncomplete(octets.length));
          listener.onReceiveMetadata(metadata);
        } else {
          this.isRefused = true;
          this.cut({ code: status.UNAVAILABLE, details: fault });
        }
      },
      onReceiveMessage: (message) => {
        this.hasBrought = true;
        this.isReading = false;
        this.take(octetsOf(message));
        this.watch();
        listener.onReceiveMessage(message);
      },
      onReceiveHalfClose: () => {
        this.isReading = false;
        this.watch();
        if (!this.isRefused) {
          listener.onReceiveHalfClose();
        }
      },
      onCancel: () => {
        this.end();
        if (!this.isRefused) {
          listener.onCancel();
        }
      },
    });
  }

  override startRead(): void {
    if (this.unanswered >= this.maxUnanswered || (this.inHand.length > 0 && this.open.isPressed)) {
      this.isReadDue = true;
      return;
    }
    this.isReading = true;
    this.watch();
    super.startRead();
  }

  override sendMessage(message: unknown, sent: () => void): void {
    this.sending++;
    this.watch();
    super.sendMessage(message, () => {
      this.sending--;
      this.unanswered--;
      this.open.count(-(this.inHand.shift() ?? 0));
      this.watch();
      sent();
      if (this.isReadDue && !this.isOver) {
        this.isReadDue = false;
        this.startRead();
      }
    });
  }

  override sendStatus(end: Status): void {
    if (this.incomplete > 0) {
      this.cut(end);
    } else {
      this.end();
      super.sendStatus(end);
    }
  }

  displace(): void {
    this.cut({ code: status.UNAVAILABLE, details: 'Others need the room' });
  }

  /**
   * Ends the call, and closes its stream once the status is out. By itself, the library leaves it to the client to do
   * so, and keeps what it has of a message until then.
   */
  private cut(end: Status): void {
    const { stream } = this;
    const hasTrailers = stream.headersSent;
    this.end();
    super.sendStatus(end);
    const close = () => setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR));
    if (hasTrailers) {
      stream.once('wantTrailers', close);
      const timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), LAST_WORD_TIME).unref();
      stream.once('close', () => clearTimeout(timer));
    } else {
      close();
    }
  }

  private end(): void {
    if (this.isOver) {
      return;
    }
    this.isOver = true;
    clearTimeout(this.timer);
    this.open.leave(this);
    this.open.count(-this.incomplete - this.inHand.reduce((sum, octets) => sum + octets, 0));
    this.incomplete = 0;
    this.inHand.length = 0;
  }

  /** A message of so many octets is complete; where each has its answer, it is in hand until then. */
  private take(octets: number): void {
    this.unanswered++;
    this.countIncomplete(-Math.min(this.incomplete, octets + FRAME_OCTETS));
    if (this.maxUnanswered < Number.POSITIVE_INFINITY) {
      this.inHand.push(octets);
      this.open.count(octets);
    }
  }

  private countIncomplete(octets: number): void {
    if (!this.isOver) {
      this.incomplete += octets;
      this.open.count(octets);
    }
  }

  /** The courier's address, behind the proxies that are trusted. */
  private clientAddress(metadata: Metadata): string {
    const peer = this.getPeer();
    const [port] = /:\d+$/.exec(peer) ?? [''];
    const address = peer.slice(0, peer.length - port.length);
    return clientAddress(address, metadata.get('x-forwarded-for').join(), this.bounds.isTrustedProxy);
  }

  /** Something came or went: counts anew how long the client lets the call wait, if it does. */
  private watch(): void {
    this.active = performance.now();
    clearTimeout(this.timer);
    if (!this.isOver && (this.isReading || this.sending > 0)) {
      this.timer = setTimeout(() => {
        this.cut({ code: status.DEADLINE_EXCEEDED, details: 'Client kept the call waiting for too long' });
      }, this.bounds.idleTimeout).unref();
    }
  }
}

/** The library does not show a call's stream, without which neither its octets are known nor can it be let go of. */
function streamOf(call: ServerInterceptingCallInterface): ServerHttp2Stream {
  type Inside = { readonly stream?: ServerHttp2Stream; readonly nextCall?: Inside };
  let inside = call as unknown as Inside;
  while (!inside.stream && inside.nextCall) {
    inside = inside.nextCall;
  }
  if (!inside.stream) {
    throw new Error('The gRPC library has no stream where it used to be');
  }
  return inside.stream;
}

/** Cargo, or an id, or the name of a service: what is long in any message. */
function octetsOf(message: { readonly cargo?: Buffer; readonly id?: string }): number {
  return (message.cargo?.length ?? 0) + (message.id?.length ?? 0);
}
