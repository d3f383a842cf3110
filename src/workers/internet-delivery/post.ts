/**
 * One POST: the status decides as soon as it is there; the body is drained, within bounds, so that the connection can
 * serve again.
 *
 * This is undici's own interface of events rather than its promises: a third of the cost, and the parcel's way out is hot.
 */
import type { Dispatcher } from 'undici';
import { DeliveryFault } from '../../gateway/delivery-fault.ts';
import { SECOND } from '../../gateway/time.ts';
import { type Bounded, Deadlines } from './deadlines.ts';

/** How long the other side may take for its answer, from the start of the delivery, in milliseconds... */
const ANSWER_TIMEOUT = 30 * SECOND;

/** ...and longer by what a body takes at this pace, in octets a millisecond. */
const SLOWEST_PACE = 64;

/** How long the body of an answer may take, in milliseconds; then the connection is cut. */
const BODY_TIMEOUT = 5 * SECOND;

/** Octets of an answer's body that are drained. */
const MOST_BODY_OCTETS = 64 * 1024;

/** Waiting for a connection, and opening it, count too. */
const CONNECTION_TIMEOUT = 15 * SECOND;

/** Undici's own timers are off: they cost as much as the rest of its work. */
const NO_TIMEOUT = 0;

const deadlines = new Deadlines();

export interface Answer {
  readonly status: number;
  /** As it stands in the answer. */
  readonly location: string | undefined;
}

/**
 * Posts a body.
 *
 * @param path of the URL, with its query
 * @throws DeliveryFault CONNECTION_FAILED, TLS_FAILED, TIMED_OUT, DESTINATION_FORBIDDEN, or as finding the host has it
 */
export function post(
  to: Dispatcher,
  path: string,
  headers: Readonly<Record<string, string>>,
  body: Buffer,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const time = ANSWER_TIMEOUT + Math.ceil(body.length / SLOWEST_PACE);
    const exchange = new Exchange(resolve, (error) => reject(faultOf(error)), time);
    const timeouts = { headersTimeout: NO_TIMEOUT, bodyTimeout: NO_TIMEOUT };
    try {
      to.dispatch({ method: 'POST', path, headers, body, ...timeouts }, exchange);
    } catch (error) {
      exchange.onResponseError(undefined, error as Error);
    }
  });
}

class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
}

class Exchange implements Dispatcher.DispatchHandler, Bounded {
  deadline: number;
  private readonly resolve: (answer: Answer) => void;
  private readonly reject: (error: Error) => void;
  /** How long the answer may take once the request is under way, in milliseconds. */
  private readonly time: number;
  private controller: Dispatcher.DispatchController | undefined;
  private answer: Answer | undefined;
  private drained = 0;
  private isOver = false;

  constructor(resolve: (answer: Answer) => void, reject: (error: Error) => void, time: number) {
    this.resolve = resolve;
    this.reject = reject;
    this.time = time;
    this.deadline = performance.now() + CONNECTION_TIMEOUT + time;
    deadlines.add(this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
    this.deadline = Math.min(this.deadline, performance.now() + this.time);
    if (this.isOver) {
      controller.abort(new TimeoutError('Given up before it began'));
    }
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    if (status < 200 || this.isOver) {
      return;
    }
    const { location } = headers;
    this.answer = { status, location: Array.isArray(location) ? location[0] : location };
    if (headers['content-length'] === '0') {
      // It ends with the octets that are being read.
      return;
    }
    this.deadline = performance.now() + BODY_TIMEOUT;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.drained += chunk.length;
    if (this.drained > MOST_BODY_OCTETS) {
      this.giveUp();
    }
  }

  onResponseEnd(): void {
    this.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    this.end(error);
  }

  onDeadline(): void {
    this.giveUp();
  }

  private giveUp(): void {
    const error = new TimeoutError(this.answer ? 'The answer has no end' : 'No answer');
    this.end(error);
    this.controller?.abort(error);
  }

  private end(error?: Error): void {
    if (this.isOver) {
      return;
    }
    this.isOver = true;
    deadlines.remove(this);
    if (this.answer) {
      this.resolve(this.answer);
    } else {
      this.reject(error ?? new Error('The connection was closed'));
    }
  }
}

const TIMEOUTS: readonly string[] = [
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'ETIMEDOUT',
];

/** Codes of OpenSSL, Node's own, and those of certificates that cannot be verified. */
const TLS_CODE =
  /^(ERR_SSL_|ERR_TLS_|EPROTO$|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH$|INVALID_CA$)/;

function faultOf(error: Error & { code?: string; errors?: readonly Error[] }): DeliveryFault {
  if (error instanceof DeliveryFault) {
    return error;
  }
  // Several addresses were tried.
  const [first] = error.errors ?? [];
  const code = error.code ?? (first as { code?: string } | undefined)?.code ?? '';
  const message = error.message || (first?.message ?? code);
  if (error instanceof TimeoutError || TIMEOUTS.includes(code)) {
    return new DeliveryFault('TIMED_OUT', message, { cause: error });
  }
  return new DeliveryFault(TLS_CODE.test(code) ? 'TLS_FAILED' : 'CONNECTION_FAILED', message, { cause: error });
}
