/**
 * How a door says no: each door maps what was thrown to a status in one place, and the answer and its log line are made
 * here.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { TraceIds } from '../../gateway/errors.ts';
import { StoreError } from '../../gateway/ports.ts';
import { HttpError, RETRY_AFTER } from './http-error.ts';
import { STATUS_CODES } from './node-http.ts';
import type { RequestBodies } from './request-bodies.ts';

/** What a client is told. */
export interface Refusal {
  readonly status: number;
  /** For logs: of `AwalaErrorCode`, `GatewayErrorCode`, `StoreError.code`, `HttpErrorCode` or fastify's own. */
  readonly code: string;
  /** For the body of the answer and the log. */
  readonly message: string;
  /** Besides those of the body and, with status 503, Retry-After. */
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * A door's own mapping of what its gateway objects throw.
 *
 * @param ids what was learnt of the message before it was refused
 * @returns undefined for what the door does not know: HTTP's own refusals, and faults of ours
 */
export type RefusalOf = (error: unknown, ids: TraceIds) => Refusal | undefined;

const SERVICE_UNAVAILABLE = 503;

/** Makes `app` and its routes answer errors by `refusalOf`. */
export function answerRefusals(
  app: FastifyInstance,
  parts: { bodies: RequestBodies; log: Logger; refusalOf: RefusalOf },
): void {
  const { bodies, log, refusalOf } = parts;
  app.setErrorHandler((error, request, reply) => {
    const ids = request.ids ?? { trace: request.id };
    const refusal = refusalOf(error, ids) ?? httpRefusal(error);
    if (!refusal) {
      log.error({ err: error, ...ids }, 'Request failed');
      answer(request, reply, { status: 500, code: 'INTERNAL', message: 'Something went wrong here' }, bodies);
      return;
    }
    const { status, code, message } = refusal;
    const event = ids.parcel === undefined ? {} : { event: 'refused' };
    if (code === 'CLIENT_GONE') {
      log.debug(ids, message);
    } else if (error instanceof StoreError) {
      log.warn({ ...event, err: error, code, status, ...ids }, 'Refused');
    } else {
      log.info({ ...event, code, status, reason: message, address: request.ip, ...ids }, 'Refused');
    }
    if (error instanceof HttpError && status === SERVICE_UNAVAILABLE) {
      reply.header('retry-after', String(error.retryAfter));
    }
    if (code === 'UPLOAD_TOO_SLOW') {
      // Nothing more is read from it.
      reply.header('connection', 'close');
    }
    answer(request, reply, refusal, bodies);
  });
}

/** Answers with a message: JSON if the client accepts it, else plain text (RS-007), both without parameters. */
export function answer(request: FastifyRequest, reply: FastifyReply, refusal: Refusal, bodies: RequestBodies): void {
  const { status, message, headers } = refusal;
  const acceptsJson = request.headers.accept?.toLowerCase().includes('application/json') ?? false;
  reply.code(status).header('content-type', acceptsJson ? 'application/json' : 'text/plain');
  if (headers) {
    reply.headers(headers);
  }
  if (status === SERVICE_UNAVAILABLE && !reply.hasHeader('retry-after')) {
    reply.header('retry-after', String(RETRY_AFTER));
  }
  if (hasUnreadBody(request.raw)) {
    if (bodies.isExpectant(request.raw)) {
      // Its body may come or not, so that the next request could not be told from it.
      reply.header('connection', 'close');
    } else if (reply.getHeader('connection') !== 'close' && !bodies.discardRest(request.raw)) {
      reply.header('connection', 'close');
    }
  }
  reply.send(Buffer.from(acceptsJson ? JSON.stringify({ message }) : `${message}\n`));
}

function hasUnreadBody({ complete, headers }: IncomingMessage): boolean {
  return !complete && (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined);
}

/** Refusals by HTTP itself: ours and fastify's. */
function httpRefusal(error: unknown): Refusal | undefined {
  if (error instanceof HttpError) {
    return { status: error.status, code: error.code, message: error.message };
  }
  const { statusCode, code } = error as FastifyError;
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    // Fastify's own, e.g. a content type that is none.
    return { status: statusCode, code, message: STATUS_CODES[statusCode] ?? 'Refused' };
  }
  return undefined;
}
