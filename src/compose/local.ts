/** Configuration to objects: what is in the data directory. */
import { type LocalBackends, openLocalBackends } from '../backends/local/local-backends.ts';
import type { Config } from '../config.ts';
import type { Clock } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';
import { machineRandom } from '../machine.ts';

/** @throws Error in one line, when the data directory cannot be used or another gateway has it; StoreError */
export function openLocal(config: Config, logger: Logger | undefined, clock: Clock): Promise<LocalBackends> {
  return openLocalBackends({
    directory: config.dataDirectory,
    clock,
    random: machineRandom,
    log: logger,
    journalOctets: config.journalOctets,
  });
}
