/** The local backends keep the promises of every port. */

import { LocalMeters } from '../../src/backends/local/meters.ts';
import { temporaryBackends } from '../support/local-backends.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { identityKeysContract } from './identity-keys.contract.ts';
import { journalContract } from './journal.contract.ts';
import { keyWrappingContract } from './key-wrapping.contract.ts';
import { metersContract } from './meters.contract.ts';
import { objectStoreContract } from './object-store.contract.ts';
import { recordsContract } from './records.contract.ts';
import { signalsContract } from './signals.contract.ts';
import { workQueueContract } from './work-queue.contract.ts';

const NAME = 'The data directory';

async function open() {
  const temporary = await temporaryBackends();
  return {
    ...temporary.backends,
    clock: temporary.clock,
    [Symbol.asyncDispose]: () => temporary[Symbol.asyncDispose](),
  };
}

objectStoreContract(NAME, open);
recordsContract(NAME, open);
signalsContract(NAME, async () => ({ ...(await open()), settled: async () => {} }));
metersContract(NAME, async () => {
  const clock = new ManualClock();
  return { meters: new LocalMeters(clock), clock, async [Symbol.asyncDispose]() {} };
});
identityKeysContract(NAME, open);
keyWrappingContract(NAME, open);
journalContract(NAME, open);
workQueueContract(NAME, open);
