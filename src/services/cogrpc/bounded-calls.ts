/**
 * Bounds on the calls of a gRPC server, as an interceptor. By itself, the library reads up to 16 messages ahead of
 * whoever handles them: with cargo, that would be 144 MiB a call.
 */
import {
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  status,
} from '@grpc/grpc-js';

type Listener = Parameters<ServerInterceptingCallInterface['start']>[0];
type Status = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

export interface CallBounds {
  /** Calls at once, of all connections together. */
  readonly maxCalls: number;
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
  const calls = new Set<BoundedCall>();
  return ({ path }, call) => {
    if (isExempt(path)) {
      return new ServerInterceptingCall(call);
    }
    const method = path.slice(path.lastIndexOf('/') + 1);
    return new BoundedCall(call, calls, bounds, bounds.maxUnanswered[method] ?? Number.POSITIVE_INFINITY);
  };
}

class BoundedCall extends ServerInterceptingCall {
  private readonly calls: Set<BoundedCall>;
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
  private timer: NodeJS.Timeout | undefined;

  constructor(
    call: ServerInterceptingCallInterface,
    calls: Set<BoundedCall>,
    bounds: CallBounds,
    maxUnanswered: number,
  ) {
    super(call);
    this.calls = calls;
    this.bounds = bounds;
    this.maxUnanswered = maxUnanswered;
  }

  override start(listener: Listener): void {
    if (this.calls.size >= this.bounds.maxCalls) {
      this.isOver = true;
      super.sendStatus({ code: status.UNAVAILABLE, details: 'Too many calls at once' });
      return;
    }
    this.calls.add(this);
    super.start({
      onReceiveMetadata: (metadata) => listener.onReceiveMetadata(metadata),
      onReceiveMessage: (message) => {
        this.unanswered++;
        this.isReading = false;
        this.watch();
        listener.onReceiveMessage(message);
      },
      onReceiveHalfClose: () => {
        this.isReading = false;
        this.watch();
        listener.onReceiveHalfClose();
      },
      onCancel: () => {
        this.end();
        listener.onCancel();
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

  private end(): void {
    this.isOver = true;
    clearTimeout(this.timer);
    this.calls.delete(this);
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
