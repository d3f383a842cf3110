/**
 * Bounds on the calls of a gRPC server, as an interceptor. By itself, the library reads up to 16 messages ahead of
 * whoever handles them: with cargo, that would be 144 MiB a call.
 */
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  status,
} from '@grpc/grpc-js';
import { clientAddress } from '../http/addresses.ts';
import { type Neighbourhood, Neighbourhoods } from '../http/neighbourhoods.ts';

type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];
type Status = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

export interface CallBounds {
  /** Calls at once, of all connections together. */
  readonly maxCalls: number;
  /** Calls at once from one neighbourhood of addresses; 0 is no limit. */
  readonly maxCallsPerAddress: number;
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
  const open: OpenCalls = { calls: new Set(), neighbourhoods: new Neighbourhoods(bounds.maxCallsPerAddress) };
  return ({ path }, call) => {
    if (isExempt(path)) {
      return new ServerInterceptingCall(call);
    }
    const method = path.slice(path.lastIndexOf('/') + 1);
    return new BoundedCall(call, open, bounds, bounds.maxUnanswered[method] ?? Number.POSITIVE_INFINITY);
  };
}

/** All calls that are under way. */
interface OpenCalls {
  readonly calls: Set<BoundedCall>;
  readonly neighbourhoods: Neighbourhoods;
}

class BoundedCall extends ServerInterceptingCall {
  private readonly open: OpenCalls;
  private readonly bounds: CallBounds;
  private readonly maxUnanswered: number;
  private unanswered = 0;
  /** The handler wants a message, and there are too many unanswered. */
  private isReadDue = false;
  /** The client has to send. */
  private isReading = false;
  /** Messages that the client has to take. */
  private sending = 0;
  private isOver = false;
  /** It ended before its handler knew of it. */
  private isRefused = false;
  private neighbourhood: Neighbourhood | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(call: ServerInterceptingCallInterface, open: OpenCalls, bounds: CallBounds, maxUnanswered: number) {
    super(call);
    this.open = open;
    this.bounds = bounds;
    this.maxUnanswered = maxUnanswered;
  }

  override start(listener: Listener): void {
    if (this.open.calls.size >= this.bounds.maxCalls) {
      this.refuse('Too many calls at once');
      return;
    }
    this.open.calls.add(this);
    super.start({
      onReceiveMetadata: (metadata) => {
        this.neighbourhood = this.open.neighbourhoods.enter(this.clientAddress(metadata));
        if (this.neighbourhood) {
          listener.onReceiveMetadata(metadata);
        } else {
          this.refuse('Too many calls at once from your network');
        }
      },
      onReceiveMessage: (message) => {
        this.unanswered++;
        this.isReading = false;
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
    if (this.unanswered >= this.maxUnanswered) {
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
      this.watch();
      sent();
      if (this.isReadDue && !this.isOver) {
        this.isReadDue = false;
        this.startRead();
      }
    });
  }

  override sendStatus(end: Status): void {
    this.end();
    super.sendStatus(end);
  }

  private refuse(details: string): void {
    this.isRefused = true;
    this.sendStatus({ code: status.UNAVAILABLE, details });
  }

  private end(): void {
    if (this.isOver) {
      return;
    }
    this.isOver = true;
    clearTimeout(this.timer);
    this.open.calls.delete(this);
    if (this.neighbourhood) {
      this.open.neighbourhoods.leave(this.neighbourhood);
    }
  }

  /** The courier's address, behind the proxies that are trusted. */
  private clientAddress(metadata: Metadata): string {
    const peer = this.getPeer();
    const [port] = /:\d+$/.exec(peer) ?? [''];
    const address = peer.slice(0, peer.length - port.length);
    return clientAddress(address, metadata.get('x-forwarded-for').join(), this.bounds.isTrustedProxy);
  }

  /** Counts anew how long the client lets the call wait, if it does. */
  private watch(): void {
    clearTimeout(this.timer);
    if (!this.isOver && (this.isReading || this.sending > 0)) {
      this.timer = setTimeout(() => {
        this.sendStatus({ code: status.DEADLINE_EXCEEDED, details: 'Client kept the call waiting for too long' });
      }, this.bounds.idleTimeout).unref();
    }
  }
}
