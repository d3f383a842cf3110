/**
 * The client's side of CogRPC (RS-008): what a courier, or a private gateway beside one, says to a gateway.
 */
import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { cargoRelayDefinition } from '../services/cogrpc/cargo-relay.ts';
import type { CargoDelivery, CargoDeliveryAck } from '../services/cogrpc/messages.ts';

/** The name that every gateway knows, also those of before the specification (protocol section 1). */
const SERVICE = 'relaynet.cogrpc.CargoRelay';

/** 9 MiB of cargo (RS-001) with an id. */
const MAX_MESSAGE_OCTETS = 9_437_184 + 64 * 1024;

/** How many cargoes are on their way without an acknowledgement. */
const WINDOW = 5;

/** A call ended otherwise than well. */
export class CogRpcError extends Error {
  override readonly name = 'CogRpcError';
  /** gRPC's, e.g. `UNAUTHENTICATED`. */
  readonly status: string;
  /** Whether the server sent a text with it, be it empty. */
  readonly hasText: boolean;

  constructor(error: ServiceError) {
    const name = status[error.code] ?? String(error.code);
    super(error.details ? `${name}: ${error.details}` : name, { cause: error });
    this.status = name;
    this.hasText = error.details !== '';
  }
}

/** Cargo that a gateway gives. */
export interface CollectedCargo {
  readonly cargo: Buffer;
  /** Tells the gateway that it may send more. */
  acknowledge(): void;
}

export class CogRpcClient implements Disposable {
  private readonly client: Client;

  /** @param url `http:` or `https:`, host and port */
  constructor(url: URL) {
    const isSecure = url.protocol === 'https:';
    const address = `${url.hostname}:${url.port || (isSecure ? 443 : 80)}`;
    this.client = new Client(address, isSecure ? credentials.createSsl() : credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_MESSAGE_OCTETS,
      'grpc.max_send_message_length': MAX_MESSAGE_OCTETS,
      // Whoever calls says when to try again.
      'grpc.enable_retries': 0,
    });
  }

  /**
   * Collects cargo; ends when the gateway says that there is no more.
   *
   * @param cca serialized
   * @param signal ends the call
   * @throws CogRpcError; the signal's reason
   */
  async *collect(cca: Buffer, signal: AbortSignal): AsyncGenerator<CollectedCargo> {
    const metadata = new Metadata();
    metadata.set('authorization', `Relaynet-CCA ${cca.toString('base64')}`);
    const call = this.call(cargoRelayDefinition(SERVICE).collectCargo, metadata, signal);
    try {
      for await (const { id, cargo } of call as AsyncIterable<CargoDelivery>) {
        yield { cargo, acknowledge: () => void call.write({ id }) };
      }
      call.end();
    } catch (error) {
      throw failure(error, signal);
    } finally {
      call.cancel();
    }
  }

  /**
   * Delivers cargoes, a few at a time, in order.
   *
   * @param cargoes each is asked for when there is room for it
   * @param signal ends the call
   * @returns the indexes of those that were acknowledged, as they are
   * @throws CogRpcError; the signal's reason; what `cargoes` throws
   */
  async *deliver(cargoes: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<number> {
    const call = this.call(cargoRelayDefinition(SERVICE).deliverCargo, new Metadata(), signal);
    const source = cargoes[Symbol.asyncIterator]();
    const unacknowledged = new Set<string>();
    let sent = 0;
    let isComplete = false;
    const fill = async () => {
      while (!isComplete && unacknowledged.size < WINDOW) {
        const next = await source.next();
        if (next.done) {
          isComplete = true;
        } else {
          const id = String(sent++);
          unacknowledged.add(id);
          call.write({ id, cargo: next.value });
        }
      }
      // Only now, as deployed couriers do: some gateways end the call at once.
      if (unacknowledged.size === 0) {
        call.end();
      }
    };
    try {
      await fill();
      for await (const { id } of call as AsyncIterable<CargoDeliveryAck>) {
        if (unacknowledged.delete(id)) {
          yield Number(id);
          await fill();
        }
      }
      if (unacknowledged.size > 0) {
        throw new CogRpcError(serviceError(status.UNAVAILABLE, 'The gateway ended the call before it had all'));
      }
    } catch (error) {
      throw failure(error, signal);
    } finally {
      call.cancel();
      await source.return?.();
    }
  }

  [Symbol.dispose](): void {
    this.client.close();
  }

  private call<Request, Response>(
    { path, requestSerialize, responseDeserialize }: MethodDefinition<Request, Response>,
    metadata: Metadata,
    signal: AbortSignal,
  ): ClientDuplexStream<Request, Response> {
    const call = this.client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata);
    // What went wrong is told by reading; this is for what comes after that ended.
    call.on('error', () => undefined);
    signal.addEventListener('abort', () => call.cancel(), { once: true });
    if (signal.aborted) {
      call.cancel();
    }
    return call;
  }
}

function failure(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) {
    return signal.reason;
  }
  return error instanceof Error && 'code' in error && 'details' in error && typeof error.code === 'number'
    ? new CogRpcError(error as ServiceError)
    : error;
}

function serviceError(code: status, details: string): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata: new Metadata() });
}
