/** What went wrong with Cloud Storage, and whether the same request may go better next time. */

import { type ApiError, RETRYABLE_ERR_FN_DEFAULT } from '@google-cloud/storage';
import { StoreError } from '../../../gateway/ports.ts';

/** Faults of the connection which the client itself does not try again. */
const LOST_CONNECTION: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ETIMEDOUT',
]);

/** HTTP statuses that tell that the deployment is wrong: waiting mends nothing. */
const MISCONFIGURED: readonly number[] = [400, 401, 403, 404];

/** The HTTP status that Cloud Storage answered, or undefined where there was no answer. */
export function statusOf(error: unknown): number | undefined {
  const { code } = (error ?? {}) as Partial<ApiError>;
  return typeof code === 'number' ? code : undefined;
}

/** What the client tries again: also a body whose octets changed on the way up, and connections that failed otherwise. */
export function isWorthRetrying(error: ApiError): boolean {
  return (
    RETRYABLE_ERR_FN_DEFAULT(error) ||
    LOST_CONNECTION.has(error.code) ||
    (error.code === 400 && /match(es)? calculated CRC32C/.test(error.message))
  );
}

/** Whether the bucket is missing, or the credentials do not allow the call. */
export function isMisconfiguration(error: StoreError): boolean {
  const { cause, message } = error;
  return MISCONFIGURED.includes(statusOf(cause) ?? 0) || /default credentials/.test(message);
}

/** The same as a `StoreError`: full where a quota is spent, else away. */
export function storeError(what: string, error: unknown): StoreError {
  if (error instanceof StoreError) {
    return error;
  }
  const { errors = [], message } = error as Partial<ApiError>;
  const isFull = errors.some(({ reason }) => /quota/i.test(reason ?? ''));
  return new StoreError(isFull ? 'STORE_FULL' : 'STORE_AWAY', `Cloud Storage could not ${what}: ${message}`, {
    cause: error,
  });
}
