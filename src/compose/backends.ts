/**
 * Configuration to objects: each port, on the backend that was chosen for it.
 *
 * What is kept elsewhere is loaded only where it is chosen. Where nothing is kept locally no store is opened in the data
 * directory, so that any number of processes, each with a directory of its own, are one gateway.
 */
import type { LocalBackends } from '../backends/local/local-backends.ts';
import type { GivenUp } from '../backends/redis/work-queue.ts';
import { type Config, localKinds } from '../config.ts';
import type {
  Clock,
  IdentityKeys,
  Journal,
  KeyWrapping,
  Meters,
  ObjectStore,
  QueueName,
  Records,
  Signals,
  WorkQueue,
} from '../gateway/ports.ts';
import type { Logger } from '../log.ts';
import type { Check } from '../services/service.ts';
import type { Chore } from '../workers/housekeeping.ts';
import { joinFleet } from './fleet.ts';

/** All ports, whatever keeps them. */
export interface Backends extends AsyncDisposable {
  readonly objects: ObjectStore;
  readonly records: Records;
  readonly signals: Signals;
  readonly meters: Meters;
  readonly work: WorkQueue;
  readonly identityKeys: IdentityKeys;
  readonly wrapping: KeyWrapping;
  readonly journal: Journal;

  /** Makes sure that this process belongs to the fleet whose stores these are. @throws ConfigError, StoreError */
  joinFleet(): Promise<void>;

  /** One for each thing that messages, records, keys or signals are kept in. */
  readonly checks: readonly Check[];
  /** Resolves when messages can be taken in. @throws StoreError */
  check(): Promise<void>;

  /** What each process does for itself now and then. */
  readonly ownChores: readonly Chore[];
  /** What one process does for all. */
  readonly sharedChores: readonly Chore[];

  /** The stores in the data directory; undefined where nothing is kept there. */
  readonly local: LocalBackends | undefined;
  /** Work that expired before it was done, newest first. @throws StoreError */
  givenUp(queue: QueueName): Promise<readonly GivenUp[]>;
}

/**
 * Opens what was chosen, all at the same time; what is away is waited for, up to `START_PATIENCE`.
 *
 * @throws Error in one line, when one of them cannot be used or is not there in time
 */
export async function openBackends(config: Config, logger: Logger | undefined, clock: Clock): Promise<Backends> {
  await using stack = new AsyncDisposableStack();
  const openingLocal =
    localKinds(config).length > 0 && import('./local.ts').then(({ openLocal }) => openLocal(config, logger, clock));
  const openingDatabase =
    config.records === 'firestore' &&
    import('./firestore.ts').then(({ openDatabase }) => openDatabase(config, logger, clock));
  const openedRecords = Promise.all([openingLocal, openingDatabase]).then(
    ([local, database]) => database || present(local || undefined).records,
  );
  // Whoever opens them tells.
  openedRecords.catch(() => undefined);
  const [local, bucket, database, shared, kms] = await allOpened(stack, [
    openingLocal,
    config.objectStore === 'gcs' && import('./gcs.ts').then(({ openBucket }) => openBucket(config, logger, clock)),
    openingDatabase,
    config.signals === 'redis' && import('./redis.ts').then(({ openShared }) => openShared(config, logger, clock)),
    config.keys === 'gcp-kms' &&
      import('./kms.ts').then(({ openKeys }) => openKeys(config, { records: openedRecords, clock, log: logger })),
  ]);
  const objects = bucket ?? present(local).objects;
  const records = await openedRecords;
  const { signals, meters, work } = shared ?? present(local);
  const { identityKeys, wrapping } = kms ?? present(local);
  const journal = local?.journal ?? stack.use((await import('./journal.ts')).openJournal(config, logger, clock));

  const stores = [...checkOf('stores', local), ...checkOf('gcs', bucket), ...checkOf('firestore', database)];
  const resources = stack.move();
  return {
    objects,
    records,
    signals,
    meters,
    work,
    identityKeys,
    wrapping,
    journal,
    joinFleet: () => joinFleet(config, { records, bucket, keyLabels: kms?.labels, log: logger }),
    checks: [...stores, ...checkOf('redis', shared, OPTIONAL), ...checkOf('kms', kms, OPTIONAL)],
    async check() {
      await Promise.all(stores.map((store) => store.check()));
    },
    ownChores: local ? [{ name: 'stores', run: () => local.housekeeping() }] : [],
    sharedChores: shared ? [{ name: 'redis', run: () => shared.housekeeping() }] : [],
    local,
    givenUp: async (queue) => (await shared?.givenUp(queue)) ?? [],
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** Waits for all, and keeps each in the stack, so that nothing stays open when another fails. */
async function allOpened<Openings extends readonly unknown[]>(
  stack: AsyncDisposableStack,
  openings: readonly [...Openings],
): Promise<{ -readonly [Index in keyof Openings]: Exclude<Awaited<Openings[Index]>, false> | undefined }> {
  const outcomes = await Promise.allSettled(openings);
  const opened = outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value || undefined : undefined));
  for (const resource of opened) {
    if (isDisposable(resource)) {
      stack.use(resource);
    }
  }
  const failed = outcomes.find((outcome): outcome is PromiseRejectedResult => outcome.status === 'rejected');
  if (failed) {
    throw failed.reason;
  }
  return opened as never;
}

function isDisposable(resource: unknown): resource is AsyncDisposable {
  return typeof resource === 'object' && resource !== null && Symbol.asyncDispose in resource;
}

/** What is not kept elsewhere is kept locally, so the local stores are open. */
function present<Value>(value: Value | undefined): Value {
  if (value === undefined) {
    throw new Error('Nothing is kept in the data directory');
  }
  return value;
}

/** While it is away, parcels are taken in and collected as ever. */
const OPTIONAL = { isOptional: true } as const;

function checkOf(
  name: string,
  opened: Pick<Check, 'check'> | undefined,
  options: Pick<Check, 'isOptional'> = {},
): Check[] {
  return opened ? [{ name, ...options, check: () => opened.check() }] : [];
}
