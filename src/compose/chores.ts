/** Configuration to objects: what every process looks after, now and then. */
import type { Config } from '../config.ts';
import { Lease } from '../gateway/lease.ts';
import { MINUTE } from '../gateway/time.ts';
import type { Logger } from '../log.ts';
import { machineChance, machineRandom } from '../machine.ts';
import { type Chore, Housekeeping } from '../workers/housekeeping.ts';
import type { Core } from './core.ts';
import { isIssuing } from './issuing.ts';

/** How often a process looks whether private gateways were blocked, or something revoked, in milliseconds. */
const BLOCKS_LOOK = 3000;

/** How much longer than two rounds the lease on housekeeping lasts, in milliseconds: clocks differ. */
const LEASE_MARGIN = MINUTE;

/** Parcels in outboxes that one round of housekeeping compares with the queue. */
const REQUEUED_AT_ONCE = 10_000;

/** Services that hold parcels or make room for them: a sender's next parcel queues behind those that are held. */
const MINDFUL_OF_HELD: ReadonlySet<string> = new Set(['poweb', 'collection', 'worker']);

/** A block or revocation reaches every process within five seconds, also where its signal is lost. */
export function watchBlocks(logger: Logger, { peers, revocations }: Core): Housekeeping {
  const watch = new Housekeeping({
    chores: [
      { name: 'blocked peers', run: () => peers.refresh() },
      { name: 'revocations', run: () => revocations.refresh() },
    ],
    period: BLOCKS_LOOK,
    chance: machineChance,
    onError: (chore, err) => logger.error({ chore, err }, 'Housekeeping failed'),
  });
  watch.start();
  return watch;
}

/**
 * What must be looked after now and then. Where processes share the records, what need be done once is done by the one
 * that has the lease on it, of those that may sign: it passes on two rounds after its holder died, and at once when that
 * stops in order. By another lease, each on its own, all tell that they live.
 */
export function keepHouse(config: Config, logger: Logger, core: Core): AsyncDisposable {
  const { identity, backends, storage, cargo, clock } = core;
  const { records } = backends;
  const isAlone = config.records === 'local';
  const id = machineRandom(8).toString('hex');
  const duration = 2 * config.housekeepingPeriod + LEASE_MARGIN;
  const holder = `${config.services.join(',')} (${id})`;
  const lease = new Lease({ records, clock, name: 'housekeeping', holder, duration });
  const life = new Lease({ records, clock, name: `process/${id}`, holder, duration });
  let isHolder = isAlone;
  const holdLease = async () => {
    const before = isHolder;
    isHolder = false;
    isHolder = await lease.hold();
    if (isHolder && !before) {
      logger.info('Housekeeping for all processes is done by this one');
    } else if (!isHolder) {
      logger.debug('Housekeeping for all processes is done by another');
    }
  };
  const holdLife = async () => void (await life.hold());
  /** Who neither holds parcels nor makes room for them need not know of them. */
  const isMindful = config.services.some((service) => MINDFUL_OF_HELD.has(service));
  const lookAtHeld = async () => (isMindful ? storage.held.look() : undefined);
  const shared: Chore[] = [
    ...backends.sharedChores,
    { name: 'cargo', run: () => cargo.requeue() },
    { name: 'outboxes', run: () => storage.outbox.requeue(REQUEUED_AT_ONCE) },
  ];
  const housekeeping = new Housekeeping({
    chores: [
      // First, since it takes little, and these parcels came before all that will come.
      { name: 'newest in outboxes', run: () => storage.outbox.requeueNewest() },
      ...(isAlone ? [] : [{ name: 'life', run: holdLife }]),
      ...(isAlone || !isIssuing(config) ? [] : [{ name: 'lease', run: holdLease }]),
      // What another process has made is to be known here, too.
      { name: 'identity', run: () => (isHolder ? identity.refresh() : identity.reload()) },
      ...backends.ownChores,
      { name: 'held parcels', run: () => (isHolder ? storage.held.refresh() : lookAtHeld()) },
      ...shared.map(({ name, run }) => ({ name, run: async () => (isHolder ? run() : undefined) })),
    ],
    period: config.housekeepingPeriod,
    chance: machineChance,
    onError: (chore, err) => logger.error({ chore, err }, 'Housekeeping failed'),
  });
  housekeeping.start();
  return {
    async [Symbol.asyncDispose]() {
      await housekeeping[Symbol.asyncDispose]();
      if (!isAlone) {
        // They would run out by themselves.
        await Promise.all([lease, life].map((held) => held.release().catch(() => undefined)));
      }
    },
  };
}
