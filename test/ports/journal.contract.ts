/** What a journal promises. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Journal } from '../../src/gateway/ports.ts';
import type { ManualClock } from '../support/manual-clock.ts';

export interface JournalUnderTest extends AsyncDisposable {
  readonly journal: Journal;
  readonly clock: ManualClock;
}

export function journalContract(name: string, open: () => Promise<JournalUnderTest>): void {
  describe(`${name} as a journal`, () => {
    test('gives what it was told of one message and no other, with the time, oldest first', async () => {
      await using under = await open();
      const { journal, clock } = under;
      const start = clock.now();
      journal.record({ event: 'accepted', trace: 't1', parcel: 'p1', place: 'mailbox', size: 5, expiry: start + 9 });
      journal.record({ event: 'accepted', trace: 't2', parcel: 'p2' });
      clock.advance(1000);
      journal.record({ event: 'refused', trace: 't3', parcel: 'p1', code: 'RATE_EXCEEDED', reason: 'Too "many"' });
      clock.advance(1000);
      journal.record({ event: 'acknowledged', trace: 't1', parcel: 'p1' });
      assert.deepEqual(await journal.find('p1'), [
        { time: start, event: 'accepted', trace: 't1', parcel: 'p1', place: 'mailbox', size: 5, expiry: start + 9 },
        {
          time: start + 1000,
          event: 'refused',
          trace: 't3',
          parcel: 'p1',
          code: 'RATE_EXCEEDED',
          reason: 'Too "many"',
        },
        { time: start + 2000, event: 'acknowledged', trace: 't1', parcel: 'p1' },
      ]);
    });

    test('finds by trace ids too, and nothing by ids that only occur elsewhere', async () => {
      await using under = await open();
      under.journal.record({ event: 'refused', trace: 't1', parcel: 'p1', sender: 's1', code: 'X' });
      assert.equal((await under.journal.find('t1')).length, 1);
      for (const id of ['s1', 'p', 'X', '', 'refused', 'é', 'p1'.padEnd(1000)]) {
        assert.deepEqual(await under.journal.find(id), []);
      }
    });
  });
}
