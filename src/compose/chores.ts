/** Configuration to objects: what every process looks after, now and then. */
import type { Config } from '../config.ts';
import type { Logger } from '../log.ts';
import { machineChance } from '../machine.ts';
import { Housekeeping } from '../workers/housekeeping.ts';
import type { Core } from './core.ts';

/** How often a process looks whether private gateways were blocked, or something revoked, in milliseconds. */
const BLOCKS_LOOK = 3000;

/** Parcels in outboxes that one round of housekeeping compares with the queue. */
const REQUEUED_AT_ONCE = 10_000;

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

export function keepHouse(config: Config, logger: Logger, { identity, backends, storage, cargo }: Core): Housekeeping {
  const housekeeping = new Housekeeping({
    chores: [
      { name: 'identity', run: () => identity.refresh() },
      ...backends.ownChores,
      ...backends.sharedChores,
      { name: 'held parcels', run: () => storage.held.refresh() },
      { name: 'cargo', run: () => cargo.requeue() },
      { name: 'outboxes', run: () => storage.outbox.requeue(REQUEUED_AT_ONCE) },
    ],
    period: config.housekeepingPeriod,
    chance: machineChance,
    onError: (chore, err) => logger.error({ chore, err }, 'Housekeeping failed'),
  });
  housekeeping.start();
  return housekeeping;
}
