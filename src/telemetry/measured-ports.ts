/**
 * Ports that tell of each of their calls how long it took and whether it failed. They do nothing else: what they give and
 * throw is what the port under them gives and throws.
 */
import {
  type KeyWrapping,
  type Meters,
  type ObjectStore,
  type Records,
  StoreError,
  type WorkQueue,
} from '../gateway/ports.ts';
import type { BackingCall } from './gateway-metrics.ts';

export type OnBackingCall = (call: BackingCall) => void;

/** How a method is watched: by its promise, by the sum of what its steps took, or not at all. */
type Kind = 'promise' | 'list' | 'none';

type Kinds<Port> = { readonly [Method in keyof Port]-?: Kind };

const OBJECT_STORE: Kinds<ObjectStore> = {
  put: 'promise',
  putUnless: 'promise',
  get: 'promise',
  getAll: 'promise',
  find: 'promise',
  list: 'list',
  listPages: 'list',
  listNewest: 'list',
  delete: 'promise',
};

const RECORDS: Kinds<Records> = {
  get: 'promise',
  create: 'promise',
  put: 'promise',
  replace: 'promise',
  delete: 'promise',
  getAll: 'promise',
  putAll: 'promise',
  list: 'list',
  // For backups, which tell by themselves.
  snapshot: 'none',
};

const WORK_QUEUE: Kinds<WorkQueue> = {
  add: 'promise',
  addMissing: 'promise',
  // It waits for work.
  take: 'none',
  renew: 'promise',
  finish: 'promise',
  postpone: 'promise',
  release: 'promise',
  rest: 'promise',
  hasten: 'promise',
  remove: 'promise',
  list: 'list',
  groups: 'list',
  oldestDue: 'promise',
};

const METERS: Kinds<Meters> = { take: 'promise', reserve: 'promise', release: 'promise', recount: 'promise' };

const KEY_WRAPPING: Kinds<KeyWrapping> = { wrap: 'promise', unwrap: 'promise' };

/** The names of backends, by port. */
export interface PortBackends {
  readonly objects: string;
  readonly records: string;
  /** Of signals, work and meters. */
  readonly signals: string;
  readonly keys: string;
}

export interface MeasurablePorts {
  readonly objects: ObjectStore;
  readonly records: Records;
  readonly work: WorkQueue;
  readonly meters: Meters;
}

/** The same ports, watched. Meters in this process's own memory are not: they cost less than a look at the clock. */
export function measuredPorts(
  { objects, records, work, meters }: MeasurablePorts,
  backends: PortBackends,
  onCall: OnBackingCall,
): MeasurablePorts {
  return {
    objects: measured('objects', objects, OBJECT_STORE, backends.objects, onCall),
    records: measured('records', records, RECORDS, backends.records, onCall),
    work: measured('work', work, WORK_QUEUE, backends.signals, onCall),
    meters: backends.signals === 'local' ? meters : measured('meters', meters, METERS, backends.signals, onCall),
  };
}

export function measuredWrapping(wrapping: KeyWrapping, backend: string, onCall: OnBackingCall): KeyWrapping {
  return measured('keys', wrapping, KEY_WRAPPING, backend, onCall);
}

/** The code under which a failure is counted. */
export function failureCode(error: unknown): string {
  return error instanceof StoreError ? error.code : 'OTHER';
}

function measured<Port extends object>(
  name: string,
  port: Port,
  kinds: Kinds<Port>,
  backend: string,
  onCall: OnBackingCall,
): Port {
  const watched: Partial<Record<keyof Port, unknown>> = {};
  for (const operation of Object.keys(kinds) as (keyof Port & string)[]) {
    const method = (port[operation] as ((...parameters: unknown[]) => unknown) | undefined)?.bind(port);
    if (!method) {
      continue;
    }
    const told = (took: number, code: string | undefined) => onCall({ port: name, backend, operation, took, code });
    if (kinds[operation] === 'promise') {
      watched[operation] = (...parameters: unknown[]) => timed(() => method(...parameters) as Promise<unknown>, told);
    } else if (kinds[operation] === 'list') {
      watched[operation] = (...parameters: unknown[]) =>
        timedList(method(...parameters) as AsyncIterable<unknown>, told);
    } else {
      watched[operation] = method;
    }
  }
  return watched as Port;
}

type Told = (took: number, code: string | undefined) => void;

async function timed<Result>(call: () => Promise<Result>, told: Told): Promise<Result> {
  const start = performance.now();
  try {
    const result = await call();
    told(performance.now() - start, undefined);
    return result;
  } catch (error) {
    told(performance.now() - start, failureCode(error));
    throw error;
  }
}

/** What the reader does between two steps does not count. */
async function* timedList<Entry>(entries: AsyncIterable<Entry>, told: Told): AsyncGenerator<Entry> {
  const steps = entries[Symbol.asyncIterator]();
  let took = 0;
  let code: string | undefined;
  try {
    for (;;) {
      const start = performance.now();
      const step = await steps.next().finally(() => {
        took += performance.now() - start;
      });
      if (step.done) {
        return;
      }
      yield step.value;
    }
  } catch (error) {
    code = failureCode(error);
    throw error;
  } finally {
    told(took, code);
    await steps.return?.();
  }
}
