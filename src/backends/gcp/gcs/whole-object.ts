/** One large object of a bucket, written and read as a stream: it is there once it is whole, and not before. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { IdempotencyStrategy, Storage } from '@google-cloud/storage';
import { isWorthRetrying, storeError } from './errors.ts';

/** Seconds for which one request is tried again. */
const PATIENCE = 60;

/** Octets of one request of an upload: as much is held in memory. A multiple of 256 KiB. */
const PIECE_OCTETS = 8 * 1024 * 1024;

export interface WholeObject {
  /** Replaces what is there once all has come. @returns octets @throws StoreError; whatever reading `octets` throws */
  write(octets: ReadableStream<Uint8Array>): Promise<number>;
  /** Checked against its checksum at the end. @throws StoreError, when it is read */
  read(): ReadableStream<Uint8Array>;
}

/** @param apiEndpoint elsewhere than at Google; `STORAGE_EMULATOR_HOST` does the same */
export function wholeObject(bucket: string, name: string, apiEndpoint?: string): WholeObject {
  const storage = new Storage({
    ...(apiEndpoint !== undefined && { apiEndpoint }),
    retryOptions: {
      totalTimeout: PATIENCE,
      retryableErrorFn: isWorthRetrying,
      // The same object again does no harm.
      idempotencyStrategy: IdempotencyStrategy.RetryAlways,
    },
  });
  const file = storage.bucket(bucket).file(name);
  return {
    async write(octets) {
      let written = 0;
      let sourceError: unknown;
      const counted = async function* () {
        try {
          for await (const piece of octets) {
            written += piece.length;
            yield piece;
          }
        } catch (error) {
          sourceError = error;
          throw error;
        }
      };
      const upload = file.createWriteStream({
        resumable: true,
        chunkSize: PIECE_OCTETS,
        contentType: 'application/octet-stream',
        validation: 'crc32c',
      });
      try {
        await pipeline(counted, upload);
      } catch (error) {
        throw sourceError ?? storeError(`write gs://${bucket}/${name}`, error);
      }
      return written;
    },
    read() {
      const read = async function* () {
        try {
          const stream = file.createReadStream({ validation: 'crc32c' });
          // The client puts eleven on it, one more than Node takes without warning of a leak.
          stream.once('response', (response: Readable) => response.setMaxListeners(16));
          yield* stream;
        } catch (error) {
          throw storeError(`read gs://${bucket}/${name}`, error);
        }
      };
      return ReadableStream.from<Uint8Array>(Readable.from(read(), { objectMode: false }));
    },
  };
}
