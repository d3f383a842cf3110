/**
 * Request content types: taken in any case and with parameters (protocol section 7).
 */
import type { IncomingMessage } from 'node:http';
import { HttpError } from './http-error.ts';

/** @throws HttpError CONTENT_TYPE_UNSUPPORTED, unless the request's body is of this type (lower case, no parameters) */
export function requireContentType(message: IncomingMessage, type: string): void {
  const header = message.headers['content-type'];
  if (header === type) {
    return;
  }
  const [essence = ''] = (header ?? '').split(';', 1);
  if (essence.trim().toLowerCase() !== type) {
    throw new HttpError('CONTENT_TYPE_UNSUPPORTED', 415, `Content type must be ${type}`);
  }
}
