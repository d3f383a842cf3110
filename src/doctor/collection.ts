/**
 * A collection of parcels over WebSocket (RS-016), the private gateway's side.
 */
import { on } from 'node:events';
import { type RawData, WebSocket } from 'ws';
import { readHandshakeChallenge, writeHandshakeResponse } from '../awala/poweb/collection-handshake.ts';
import { MAX_PARCEL_DELIVERY_OCTETS, readParcelDelivery } from '../awala/poweb/parcel-delivery.ts';
import { upgradeFault } from './call.ts';
import { DoctorFault } from './fault.ts';
import { networkFault } from './network-fault.ts';

const DONE = 1000;

/** Why each close code comes, and what helps. */
const CLOSE_MENDS: Readonly<Record<number, string>> = {
  1003: 'The gateway refused the handshake: look into its log, and compare the clocks here and there',
  1006: 'The connection broke: let proxies before the gateway keep quiet WebSockets open for minutes',
  1008: 'Something between here and there adds an Origin header, as browsers do: remove it',
  1011: 'The gateway or one of its stores failed: look into its log and at GET /ping on its ops port',
  4000: 'The gateway is shutting down: try again',
};

/** A parcel as it was delivered. */
export interface CollectedParcel {
  readonly parcel: Buffer;
  /** Tells the gateway that the parcel is safe here; it deletes it. */
  acknowledge(): void;
}

export interface CollectionRequest {
  /** Signs the challenge's nonce: gives the serialized nonce signature. */
  readonly signNonce: (nonce: Buffer) => Promise<Buffer>;
  /** How long the gateway may be silent, in milliseconds. */
  readonly limit: number;
  readonly signal: AbortSignal;
}

/**
 * Collects all that waits; ends when the gateway says that nothing more does.
 *
 * @throws DoctorFault; AwalaError when a message cannot be read
 */
export async function* collectParcels(url: URL, request: CollectionRequest): AsyncGenerator<CollectedParcel> {
  const failure = new AbortController();
  const socket = new WebSocket(url, {
    // Both spellings: gateways know the one or the other (protocol section 1).
    headers: {
      'X-Awala-Streaming-Mode': 'close-upon-completion',
      'X-Relaynet-Streaming-Mode': 'close-upon-completion',
    },
    maxPayload: MAX_PARCEL_DELIVERY_OCTETS,
    perMessageDeflate: false,
  });
  let closeCode = 0;
  socket.once('close', (code) => {
    closeCode = code;
  });
  socket.on('error', (error) => failure.abort(networkFault(error, url)));
  socket.once('unexpected-response', (_, response) => {
    failure.abort(upgradeFault(response.statusCode ?? 0));
  });
  const silence = setTimeout(() => {
    failure.abort(
      new DoctorFault(
        'ANSWER_LATE',
        `The gateway was silent for ${request.limit / 1000} s during the collection`,
        'Let proxies before the gateway pass WebSocket messages on at once',
      ),
    );
  }, request.limit);

  const signal = AbortSignal.any([request.signal, failure.signal]);
  try {
    let isChallenged = false;
    for await (const [data] of on(socket, 'message', { signal, close: ['close'] }) as AsyncIterable<[RawData]>) {
      silence.refresh();
      const message = Buffer.from(data as Buffer);
      if (isChallenged) {
        const { deliveryId, parcel } = readParcelDelivery(message);
        yield { parcel, acknowledge: () => socket.send(deliveryId) };
      } else {
        isChallenged = true;
        socket.send(writeHandshakeResponse([await request.signNonce(readHandshakeChallenge(message))]));
      }
    }
  } catch (error) {
    request.signal.throwIfAborted();
    failure.signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(silence);
    socket.terminate();
  }
  if (closeCode !== DONE) {
    throw new DoctorFault(
      'COLLECTION_CLOSED',
      `The gateway closed the collection with ${closeCode} instead of ${DONE}`,
      CLOSE_MENDS[closeCode] ?? "Look into the gateway's log for this collection",
    );
  }
}
