/**
 * A courier: takes cargo from gateways and to them, and goes on where it was interrupted.
 */
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { CargoFolder } from './cargo-folder.ts';
import { CogRpcClient, CogRpcError } from './cogrpc-client.ts';

/** Statuses after which the same call may go well. */
const PASSING: ReadonlySet<string> = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED', 'RESOURCE_EXHAUSTED']);

/** So many calls in a row without anything new are enough. */
const MAX_FRUITLESS_CALLS = 3;

/** Between calls, in milliseconds. */
const CALL_PAUSE = 1000;

/** How long a call may be without anything new, in milliseconds. */
const PATIENCE = 60_000;

/** Told of each cargo that is safe where it belongs. */
export type CargoObserver = (octets: number) => void;

/**
 * Collects all cargo that a CCA lets one have into a folder. Each is acknowledged once it is on the disk.
 *
 * @param cca serialized
 * @returns false when this was done before
 * @throws CogRpcError, PERMISSION_DENIED when the CCA was spent elsewhere; the signal's reason; Error of the disk
 */
export async function collectCargo(
  url: URL,
  cca: Buffer,
  folder: CargoFolder,
  observer: CargoObserver,
  signal: AbortSignal,
): Promise<boolean> {
  const done = `${createHash('sha256').update(cca).digest('hex')}.collected`;
  if (await folder.isNoted(done)) {
    return false;
  }
  await callUntilDone(signal, async (call) => {
    using client = new CogRpcClient(url);
    for await (const { cargo, acknowledge } of client.collect(cca, call.signal)) {
      await folder.keep(cargo);
      acknowledge();
      call.progress();
      observer(cargo.length);
    }
  });
  await folder.note(done);
  return true;
}

/**
 * Delivers all cargo of a folder, and puts aside what is acknowledged.
 *
 * @throws CogRpcError; the signal's reason; Error of the disk
 */
export async function deliverCargo(
  url: URL,
  folder: CargoFolder,
  observer: CargoObserver,
  signal: AbortSignal,
): Promise<void> {
  await callUntilDone(signal, async (call) => {
    const files = await folder.list();
    if (files.length === 0) {
      return;
    }
    async function* cargoes() {
      for (const { name } of files) {
        yield await folder.read(name);
      }
    }
    using client = new CogRpcClient(url);
    for await (const index of client.deliver(cargoes(), call.signal)) {
      const { name, size } = files[index] as (typeof files)[number];
      await folder.putAside(name);
      call.progress();
      observer(size);
    }
  });
}

/** One of several calls. */
interface Call {
  /** Ends the call when it has been without anything new for too long. */
  readonly signal: AbortSignal;
  /** Something has come further. */
  progress(): void;
}

/** Makes calls until one ends well. */
async function callUntilDone(signal: AbortSignal, make: (call: Call) => Promise<void>): Promise<void> {
  for (let fruitless = 0; ; ) {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(new Error(`Nothing came for ${PATIENCE / 1000} s`)), PATIENCE);
    try {
      await make({
        signal: AbortSignal.any([signal, silence.signal]),
        progress: () => {
          fruitless = 0;
          timer.refresh();
        },
      });
      return;
    } catch (error) {
      const isPassing = silence.signal.aborted || (error instanceof CogRpcError && PASSING.has(error.status));
      if (signal.aborted || !isPassing || ++fruitless >= MAX_FRUITLESS_CALLS) {
        throw error;
      }
    } finally {
      clearTimeout(timer);
    }
    await pause(CALL_PAUSE, undefined, { signal });
  }
}
