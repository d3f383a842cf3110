/**
 * CollectCargo (RS-008): gives a courier the cargo that its authorization (CCA) lets it have.
 */
import { randomUUID } from 'node:crypto';
import { type Metadata, status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { MAX_CCA_OCTETS } from '../../awala/cargo/cargo-collection-authorization.ts';
import { AwalaError } from '../../awala/errors.ts';
import type { CargoCollection, OutgoingCargo } from '../../gateway/cargo/cargo-collection.ts';
import type { CargoCollections } from '../../gateway/cargo/cargo-collections.ts';
import { TELL_NOBODY, type TellOfCargo } from '../../gateway/cargo/cargo-events.ts';
import { GatewayError, type GatewayErrorCode, type TraceIds } from '../../gateway/errors.ts';
import { giveBack } from '../../gateway/give-back.ts';
import { StoreError } from '../../gateway/ports.ts';
import type { CargoRelay, CollectCargoCall } from './cargo-relay.ts';
import { UnexplainedMetadata } from './unexplained-metadata.ts';

/** `Awala-CCA` by the specification, `Relaynet-CCA` by deployed clients; then base64, with or without its padding. */
const AUTHORIZATION = /^(?:awala|relaynet)-cca +([a-z0-9+/]+={0,2}) *$/i;

const MAX_AUTHORIZATION_LENGTH = Math.ceil(MAX_CCA_OCTETS / 3) * 4 + 32;

/**
 * The handler of the method.
 *
 * @param tell told of how each call ends
 */
export function collectCargo(
  collections: CargoCollections,
  log: Logger,
  tell: TellOfCargo = TELL_NOBODY,
): NonNullable<CargoRelay['collectCargo']> {
  return (call) => void serve(call, collections, { log, tell });
}

interface Watchers {
  readonly log: Logger;
  readonly tell: TellOfCargo;
}

/** A status as the gRPC library takes it. */
interface StatusAnswer {
  readonly code: status;
  readonly details: string;
  readonly metadata?: Metadata;
}

/** Why a call ends before its time without anything being wrong here. */
class CourierGone extends Error {
  override readonly name = 'CourierGone';
}

/** Never rejects. */
async function serve(call: CollectCargoCall, collections: CargoCollections, watchers: Watchers): Promise<void> {
  const { log, tell } = watchers;
  const ids: TraceIds = { trace: randomUUID() };
  const gone = new AbortController();
  const leave = (reason: string) => gone.abort(new CourierGone(reason));
  call.on('cancelled', () => leave('Call was cancelled, or its time is up'));
  call.on('error', () => leave('Call failed'));
  try {
    const cca = readAuthorization(call.metadata);
    if (!cca) {
      log.info({ code: 'CCA_MISSING', ...ids }, 'Cargo collection refused');
      tell({ event: 'collection-refused', ids, code: 'CCA_MISSING' });
      fail(call, { code: status.UNAUTHENTICATED, details: 'Metadata has no authorization with a CCA' });
      return;
    }
    using collection = await collections.open(cca, ids);
    await deliver(call, collection, gone.signal, leave);
    const { cargoes, items, octets } = collection;
    log.info({ ...ids, cargoes, items, octets }, 'Cargo collected');
    tell({ event: 'collected', ids });
    call.end();
  } catch (error) {
    end(call, error, ids, watchers);
  }
}

/** Sends all cargo, one while the next is made. */
async function deliver(
  call: CollectCargoCall,
  collection: CargoCollection,
  gone: AbortSignal,
  leave: (reason: string) => void,
): Promise<void> {
  let isHalfClosed = false;
  // A courier that has said all acknowledges no more.
  const leaveIfWaiting = () => {
    if (isHalfClosed && collection.inFlight > 0) {
      leave('Courier ended before it had acknowledged all');
    }
  };
  call.on('data', ({ id }) => collection.acknowledge(id));
  call.on('end', () => {
    isHalfClosed = true;
    leaveIfWaiting();
  });
  let sending: Promise<void> = Promise.resolve();
  for await (const delivery of collection.deliveries(gone)) {
    await sending;
    gone.throwIfAborted();
    sending = send(call, delivery, gone);
    leaveIfWaiting();
  }
  await sending;
}

/** Resolves when the network has taken the cargo, or nobody is there to take it; never rejects. */
function send(call: CollectCargoCall, delivery: OutgoingCargo, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    gone.addEventListener('abort', () => resolve(), { once: true });
    call.write(delivery, () => {
      // The library has its own copy.
      delivery.cargo.forEach(giveBack);
      resolve();
    });
  });
}

/** The CCA in a call's metadata, or undefined where there is none that could be one. */
function readAuthorization(metadata: Metadata): Buffer | undefined {
  const [value] = metadata.get('authorization');
  if (typeof value !== 'string' || value.length > MAX_AUTHORIZATION_LENGTH) {
    return undefined;
  }
  const base64 = AUTHORIZATION.exec(value)?.[1];
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64');
}

/** What each refusal of the gateway's is answered; those of the protocol are UNAUTHENTICATED. */
const STATUSES: Partial<Readonly<Record<GatewayErrorCode, status>>> = {
  CCA_FOR_ANOTHER_GATEWAY: status.INVALID_ARGUMENT,
  CCA_SPENT: status.PERMISSION_DENIED,
  CCA_SUPERSEDED: status.ABORTED,
};

function end(call: CollectCargoCall, error: unknown, ids: TraceIds, { log, tell }: Watchers): void {
  if (error instanceof CourierGone) {
    log.info({ reason: error.message, ...ids }, 'Cargo collection broken off');
    tell({ event: 'broken-off', ids });
    fail(call, { code: status.CANCELLED, details: error.message });
  } else if (error instanceof AwalaError || error instanceof GatewayError) {
    const { code, message } = error;
    log.info({ code, reason: message, ...ids }, 'Cargo collection refused');
    tell({ event: 'collection-refused', ids, code });
    fail(call, refusal(error));
  } else {
    const isAway = error instanceof StoreError;
    log[isAway ? 'warn' : 'error']({ err: error, ...ids }, 'Cargo collection failed');
    tell({ event: 'failed', ids });
    fail(call, { code: status.UNAVAILABLE, details: 'Cargo cannot be had now' });
  }
}

function refusal(error: AwalaError | GatewayError): StatusAnswer {
  if (error.code === 'CCA_SPENT') {
    return { code: status.PERMISSION_DENIED, details: '', metadata: new UnexplainedMetadata() };
  }
  const code = (error instanceof GatewayError && STATUSES[error.code]) || status.UNAUTHENTICATED;
  return { code, details: `${error.code}: ${error.message}` };
}

function fail(call: CollectCargoCall, answer: StatusAnswer): void {
  call.emit('error', answer);
}
