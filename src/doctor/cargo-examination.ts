/**
 * The examination by courier: a ping goes out in a cargo and comes back in one, and what let it be collected is spent
 * then (RS-008, protocol sections 6 and 9).
 */
import { setTimeout as pause } from 'node:timers/promises';
import { cargoItemKind } from '../awala/cargo/cargo-message-set.ts';
import { readParcelCollectionAck, writeParcelCollectionAck } from '../awala/cargo/parcel-collection-ack.ts';
import { CertificateCache } from '../awala/pki/certificate-cache.ts';
import type { Registration } from '../awala/poweb/registration.ts';
import { readParcel } from '../awala/ramf/parcel.ts';
import { CogRpcClient, CogRpcError } from '../courier/cogrpc-client.ts';
import { CargoChannel } from './cargo-channel.ts';
import type { Endpoint } from './endpoint.ts';
import { DoctorFault } from './fault.ts';
import type { NodeKey } from './node-key.ts';
import type { Steps } from './step.ts';

/** How long deployed couriers give a call, in milliseconds. */
const CALL_LIMIT = 5000;

/** How long the gateway may take to open cargo, and how often that is looked for, in milliseconds. */
const OPENING_LIMIT = 15_000;
const OPENING_PAUSE = 500;

export interface CargoExaminationParts {
  readonly url: URL;
  readonly key: NodeKey;
  readonly registration: Registration;
  readonly endpoint: Endpoint;
  readonly signal: AbortSignal;
}

/** Runs the steps by courier. */
export async function examineCargo(steps: Steps, need: CargoExaminationParts | undefined): Promise<void> {
  const sent = await steps.run('cargo-delivery', need, async (parts) => {
    const channel = await CargoChannel.create(parts.key, parts.registration);
    const parcel = await parts.endpoint.writeParcel(undefined, Date.now());
    await deliver(parts, await channel.writeCargo([parcel]));
    return { value: { parts, channel, parcel }, detail: `cargo with a parcel of ${parcel.length} octets acknowledged` };
  });
  const collected = await steps.run('cargo-collection', sent, async ({ parts, channel, parcel }) => {
    const { cca, items, collections } = await collectUntilThere(parts, channel, parcel);
    requireAck(items, parcel);
    // That it is safe here: nothing of the doctor's stays behind.
    await deliver(parts, await channel.writeCargo([ackOf(parcel)]));
    const others = collections > 1 ? ` at the ${ordinal(collections)} collection` : '';
    return {
      value: { parts, cca },
      detail: `the parcel came back the same, octet by octet, with its acknowledgement${others}`,
    };
  });
  await steps.run('cargo-refusal', collected, async ({ parts, cca }) => {
    await requireRefusal(parts, cca);
    return { value: true, detail: 'a CCA that was spent is refused' };
  });
}

async function deliver({ url, signal }: CargoExaminationParts, cargo: Buffer): Promise<void> {
  using client = new CogRpcClient(url);
  async function* cargoes() {
    yield cargo;
  }
  let acknowledged = 0;
  await withinLimit(url, signal, async (limited) => {
    for await (const _ of client.deliver(cargoes(), limited)) {
      acknowledged++;
    }
  });
  if (acknowledged !== 1) {
    throw new DoctorFault('CARGO_NOT_TAKEN', 'Cargo was not acknowledged', "Look into the gateway's log");
  }
}

async function collect(parts: CargoExaminationParts, channel: CargoChannel, cca: Buffer): Promise<Buffer[]> {
  using client = new CogRpcClient(parts.url);
  const items: Buffer[] = [];
  await withinLimit(parts.url, parts.signal, async (limited) => {
    for await (const { cargo, acknowledge } of client.collect(cca, limited)) {
      items.push(...channel.open(cargo));
      acknowledge();
    }
  });
  return items;
}

/**
 * Cargo is opened after it was acknowledged, so that the parcel in it may not be there yet, nor the acknowledgement of it,
 * which follows the parcel.
 */
async function collectUntilThere(
  parts: CargoExaminationParts,
  channel: CargoChannel,
  parcel: Buffer,
): Promise<{ cca: Buffer; items: Buffer[]; collections: number }> {
  const end = performance.now() + OPENING_LIMIT;
  for (let collections = 1; ; collections++) {
    const cca = await channel.writeCca();
    const items = await collect(parts, channel, cca);
    const isLate = performance.now() > end;
    if (items.some((item) => item.equals(parcel)) && (hasAck(items, parcel) || isLate)) {
      return { cca, items, collections };
    }
    if (isLate) {
      throw new DoctorFault(
        'PARCEL_LOST',
        `The parcel that came in cargo was not there ${OPENING_LIMIT / 1000} s later`,
        "Check that a process with the service `worker` runs on the same stores, and look into the gateway's log",
      );
    }
    await pause(OPENING_PAUSE, undefined, { signal: parts.signal });
  }
}

function ackOf(bytes: Buffer): Buffer {
  const { sender, recipient, messageId } = readParcel(bytes, new CertificateCache());
  return writeParcelCollectionAck({
    senderEndpointId: sender.subjectId,
    recipientEndpointId: recipient.id,
    parcelId: messageId,
  });
}

function hasAck(items: readonly Buffer[], parcel: Buffer): boolean {
  const { messageId } = readParcel(parcel, new CertificateCache());
  const acks = items.filter((item) => cargoItemKind(item) === 'parcel-collection-ack').map(readParcelCollectionAck);
  return acks.some(({ parcelId }) => parcelId === messageId);
}

function requireAck(items: readonly Buffer[], parcel: Buffer): void {
  if (!hasAck(items, parcel)) {
    throw new DoctorFault(
      'ANSWER_WRONG',
      'The parcel came back without the acknowledgement (PCA) of its having been taken from cargo',
      "Private gateways would send it again and again: look into the gateway's log",
    );
  }
}

/** A second collection under one CCA: deployed couriers delete a CCA only after this very answer. */
async function requireRefusal({ url, signal }: CargoExaminationParts, cca: Buffer): Promise<void> {
  using client = new CogRpcClient(url);
  try {
    await Array.fromAsync(client.collect(cca, AbortSignal.any([signal, AbortSignal.timeout(CALL_LIMIT)])));
  } catch (error) {
    if (error instanceof CogRpcError && error.status === 'PERMISSION_DENIED' && !error.hasText) {
      return;
    }
    throw error instanceof CogRpcError ? refusalFault(error.message) : error;
  }
  throw refusalFault('no refusal');
}

function refusalFault(actual: string): DoctorFault {
  return new DoctorFault(
    'STATUS_UNEXPECTED',
    `A CCA that was spent was answered with ${actual} instead of PERMISSION_DENIED without a text`,
    "Couriers would keep it for ever: see that no proxy changes gRPC's trailers",
  );
}

/** Runs a call within the time that deployed couriers give it. @throws DoctorFault */
async function withinLimit(
  url: URL,
  signal: AbortSignal,
  call: (limited: AbortSignal) => Promise<void>,
): Promise<void> {
  const late = AbortSignal.timeout(CALL_LIMIT);
  try {
    await call(AbortSignal.any([signal, late]));
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) {
      throw new DoctorFault(
        'ANSWER_LATE',
        `The call to ${url.host} took longer than ${CALL_LIMIT / 1000} s, the time that deployed couriers wait`,
        "Look at the gateway's load, its disk, and the way to it",
        { cause: error },
      );
    }
    throw error instanceof CogRpcError ? callFault(error, url) : error;
  }
}

/** What each status is likely to come from. */
const MENDS: Readonly<Record<string, string>> = {
  UNAVAILABLE:
    'Check that the URL is that of CogRPC (port 8082 by default), with https:// where TLS is; then look at GET /ping on the ops port',
  UNIMPLEMENTED: 'This is not CogRPC: give its URL (port 8082 by default) with --cargo',
  UNAUTHENTICATED: 'The gateway does not take the CCA: look into its log, and compare the clocks of all its replicas',
  INVALID_ARGUMENT: 'Check that both URLs lead to one gateway',
};

function callFault(error: CogRpcError, url: URL): DoctorFault {
  const mend = MENDS[error.status] ?? "Look into the gateway's log for this call";
  return new DoctorFault('STATUS_UNEXPECTED', `The call to ${url.host} ended with ${error.message}`, mend, {
    cause: error,
  });
}

function ordinal(count: number): string {
  return count === 2 ? 'second' : count === 3 ? 'third' : `${count}th`;
}
