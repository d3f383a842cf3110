/**
 * What a client asks for, and is known to be able to take, when it opens a collection: read from its request's headers.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { CollectionOptions } from '../../gateway/parcel-collection.ts';

/** RS-016 allows this many unacknowledged deliveries. */
const FULL_WINDOW = 5;

/** For clients that merge messages which arrive together, and for all that are not known. */
const SAFE_WINDOW = 1;

/**
 * Clients that are known to keep the borders of messages: the Kotlin stack names its HTTP library, Ktor or OkHttp
 * below it. The JavaScript stack names nothing (docs/decisions/0003-collection-window.md).
 */
const BORDER_KEEPING_CLIENTS = /^(?:ktor[- ]client|okhttp\/)/i;

/** Streaming mode, in the specification's spelling and in that of deployed clients. */
const MODE_HEADERS = ['x-awala-streaming-mode', 'x-relaynet-streaming-mode'] as const;

/** Reads the streaming mode, `keep-alive` when absent or unknown, and the window. */
export function readCollectionOptions(headers: IncomingHttpHeaders): CollectionOptions {
  const [mode] = MODE_HEADERS.map((name) => headers[name]).filter((value) => value !== undefined);
  return {
    untilEmpty: typeof mode === 'string' && mode.trim().toLowerCase() === 'close-upon-completion',
    window: BORDER_KEEPING_CLIENTS.test(headers['user-agent'] ?? '') ? FULL_WINDOW : SAFE_WINDOW,
  };
}

/** Browsers tell a page's origin; no other client does (RS-016). */
export function isFromBrowser(headers: IncomingHttpHeaders): boolean {
  return headers.origin !== undefined || headers['sec-websocket-origin'] !== undefined;
}
