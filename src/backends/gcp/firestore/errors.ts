/**
 * What Firestore says when something went wrong, and what it means.
 *
 * Source: https://cloud.google.com/firestore/docs/understand-error-codes
 */
import { status } from '@grpc/grpc-js';
import type { StoreError } from '../../../gateway/ports.ts';
import { isNetworkFault } from '../calls.ts';

/** May not come again: contention, quota, a server or network that fails. */
const PASSING: ReadonlySet<unknown> = new Set([
  status.CANCELLED,
  status.UNKNOWN,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.INTERNAL,
  status.UNAVAILABLE,
]);

/** After these a write was certainly not carried out. */
const UNDONE: ReadonlySet<unknown> = new Set([status.ABORTED, status.RESOURCE_EXHAUSTED]);

/** The document is not as the writer demands that it be. */
const REFUSALS: ReadonlySet<unknown> = new Set([status.ALREADY_EXISTS, status.FAILED_PRECONDITION, status.NOT_FOUND]);

/** The deployment is wrong: waiting mends nothing. */
const MISCONFIGURED: ReadonlySet<unknown> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.UNIMPLEMENTED,
  status.UNAUTHENTICATED,
]);

/** Whether the same call may go better the next time. */
export function isPassing(error: unknown): boolean {
  const code = codeOf(error);
  return PASSING.has(code) || isNetworkFault(code);
}

/** Whether a write that failed so may have been carried out all the same. */
export function isUnclear(error: unknown): boolean {
  return isPassing(error) && !UNDONE.has(codeOf(error));
}

/** Whether a write was refused for the state of its document. */
export function isRefusal(error: unknown): boolean {
  return REFUSALS.has(codeOf(error));
}

/** Whether the database is missing, or the credentials are, or do not allow the call. */
export function isMisconfiguration({ cause }: StoreError): boolean {
  // What is no answer of Firestore's tells of the credentials, which are looked for first.
  return typeof codeOf(cause) === 'number' ? MISCONFIGURED.has(codeOf(cause)) : !isPassing(cause);
}

export function reasonOf(error: unknown): string {
  const { details, message } = error as { details?: string; message?: string };
  return details || message || String(error);
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code;
}
