/** Records in which a test can make calls that claim one CCA meet. */
import type { Records } from '../../src/gateway/ports.ts';
import type { Barrier } from './held-stores.ts';

/** Records whose writes to claims wait at the barrier. */
export function heldClaims(records: Records, barrier: Barrier): Records {
  return {
    get: (...args) => records.get(...args),
    list: (...args) => records.list(...args),
    put: (...args) => records.put(...args),
    delete: (...args) => records.delete(...args),
    async create(kind, ...args) {
      if (kind === 'cca-claims') {
        await barrier.pass();
      }
      return records.create(kind, ...args);
    },
    async replace(kind, ...args) {
      if (kind === 'cca-claims') {
        await barrier.pass();
      }
      return records.replace(kind, ...args);
    },
  };
}
