/** The two kinds of upload that carry metadata: multipart, and resumable sessions. */

import { randomUUID } from 'node:crypto';
import { ApiFault } from './api-fault.ts';
import type { UploadedMetadata } from './bucket.ts';

export interface Upload {
  readonly metadata: UploadedMetadata;
  readonly body: Buffer;
}

/** https://cloud.google.com/storage/docs/resumable-uploads: all pieces but the last are multiples of 256 KiB */
const PIECE = 256 * 1024;

/**
 * `multipart/related` of exactly two parts, first the metadata in JSON, then the octets.
 * https://cloud.google.com/storage/docs/uploading-objects#uploading-an-object, "JSON API multipart uploads"
 */
export function readMultipart(contentType: string, request: Buffer): Upload {
  const boundary = /^multipart\/related;.*boundary="?([^";]+)"?/i.exec(contentType)?.[1];
  if (boundary === undefined) {
    throw new ApiFault(400, 'badRequest', 'Multipart must be multipart/related with a boundary');
  }
  const first = readPart(request, boundary, 0);
  const second = readPart(request, boundary, first.end);
  const rest = request.subarray(second.end).toString('latin1');
  if (!rest.startsWith(`\r\n--${boundary}--`) && !rest.startsWith(`--${boundary}--`)) {
    throw new ApiFault(400, 'badRequest', 'Multipart must have exactly two parts');
  }
  const metadata = JSON.parse(first.content.toString()) as UploadedMetadata;
  return { metadata: { contentType: second.contentType, ...metadata }, body: second.content };
}

/** One part of RFC 2046 section 5.1.1: delimiter, header, empty line, content up to the next delimiter. */
function readPart(request: Buffer, boundary: string, from: number) {
  const delimiter = request.indexOf(`--${boundary}\r\n`, from);
  const headerEnd = request.indexOf('\r\n\r\n', delimiter);
  const end = request.indexOf(`\r\n--${boundary}`, headerEnd);
  if (delimiter < 0 || headerEnd < 0 || end < 0) {
    throw new ApiFault(400, 'badRequest', 'Multipart is cut short');
  }
  const header = request.subarray(delimiter, headerEnd).toString('latin1');
  const contentType = /\r\ncontent-type:\s*([^\r]+)/i.exec(header)?.[1] ?? 'application/octet-stream';
  return { contentType, content: request.subarray(headerEnd + 4, end), end };
}

interface Session {
  readonly bucket: string;
  readonly metadata: UploadedMetadata;
  /** Of the request that began it: the name and the preconditions. */
  readonly query: URLSearchParams;
  received: Buffer;
}

/** Resumable sessions. https://cloud.google.com/storage/docs/performing-resumable-uploads */
export class Sessions {
  private readonly sessions = new Map<string, Session>();

  /** @returns the id that goes into the session's URI */
  begin(bucket: string, metadata: UploadedMetadata, query: URLSearchParams): string {
    const id = randomUUID();
    this.sessions.set(id, { bucket, metadata, query, received: Buffer.alloc(0) });
    return id;
  }

  /**
   * Adds a piece, or asks how much is there (`bytes * /TOTAL`).
   *
   * @returns the whole when it is there, else how many octets are: status 308 with the header `Range`
   */
  put(id: string, contentRange: string | undefined, piece: Buffer): (Upload & Session) | number {
    const session = this.sessions.get(id);
    if (!session) {
      throw new ApiFault(404, 'notFound', 'No such upload session');
    }
    const range = /^bytes (?:(\d+)-(\d+|\*)|\*)\/(\d+|\*)$/.exec(contentRange ?? `bytes 0-*/${piece.length}`);
    if (!range) {
      throw new ApiFault(400, 'badRequest', `Invalid Content-Range: ${contentRange}`);
    }
    const [, start, , total] = range;
    if (start !== undefined) {
      if (Number(start) !== session.received.length) {
        throw new ApiFault(503, 'backendError', 'A piece must follow what is there');
      }
      session.received = Buffer.concat([session.received, piece]);
    }
    if (total === '*') {
      if (start !== undefined && piece.length % PIECE !== 0) {
        throw new ApiFault(400, 'badRequest', 'Pieces but the last must be multiples of 256 KiB');
      }
      return session.received.length;
    }
    if (session.received.length < Number(total)) {
      return session.received.length;
    }
    this.sessions.delete(id);
    return { ...session, body: session.received };
  }
}
