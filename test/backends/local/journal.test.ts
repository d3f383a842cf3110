import assert from 'node:assert/strict';
import { appendFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { LocalJournal } from '../../../src/backends/local/journal.ts';
import { JournalFiles } from '../../../src/backends/local/journal-files.ts';
import { temporaryDirectory } from '../../support/gateway.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const MIB = 1024 * 1024;

function directoryOf(context: TestContext): string {
  const directory = temporaryDirectory();
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function open(directory: string, maxOctets = MIB) {
  const warnings: unknown[] = [];
  const log = { warn: (details: unknown) => warnings.push(details), error() {} };
  const journal = new LocalJournal({ directory, clock: new ManualClock(), log, maxOctets });
  return { journal, warnings };
}

const idOf = (number: number) => `${number}`.padStart(36, '0');

suite('The journal of a data directory', () => {
  test('outlives the process that wrote it, also where the last line was cut short', async (context) => {
    const directory = directoryOf(context);
    {
      await using first = open(directory).journal;
      first.record({ event: 'accepted', trace: 't', parcel: 'p1' });
    }
    const file = path.join(directory, 'journal/way-1.ndjson');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    appendFileSync(file, '{"time":1,"event":"accepted","trace":"t","parcel":"p1"');
    await using second = open(directory).journal;
    second.record({ event: 'acknowledged', trace: 't', parcel: 'p1' });
    const events = (await second.find('p1')).map(({ event }) => event);
    assert.deepEqual(events, ['accepted', 'acknowledged']);
  });

  test('stays within its size and forgets the oldest first', async (context) => {
    const directory = directoryOf(context);
    await using journal = open(directory).journal;
    const messages = 20_000;
    for (let number = 0; number < messages; number++) {
      journal.record({ event: 'accepted', trace: 'x'.repeat(60), parcel: idOf(number) });
      if (number % 500 === 0) {
        // Writes what waits.
        await journal.find('nothing');
      }
    }
    assert.equal((await journal.find(idOf(messages - 1))).length, 1);
    assert.deepEqual(await journal.find(idOf(0)), []);
    const folder = path.join(directory, 'journal');
    const octets = readdirSync(folder).reduce((sum, file) => sum + statSync(path.join(folder, file)).size, 0);
    assert.ok(octets > MIB / 4 && octets <= MIB, `${octets} octets`);
  });

  test('forgets nothing but refusals for a flood of refusals', async (context) => {
    await using journal = open(directoryOf(context)).journal;
    journal.record({ event: 'accepted', trace: 't', parcel: 'precious' });
    for (let number = 0; number < 20_000; number++) {
      journal.record({ event: 'refused', trace: 'x'.repeat(60), parcel: idOf(number), code: 'PARCEL_INVALID' });
      if (number % 500 === 0) {
        await journal.find('nothing');
      }
    }
    assert.deepEqual(await journal.find(idOf(0)), []);
    assert.equal((await journal.find('precious')).length, 1);
  });

  test('finds lines across the borders of what is read at a time', async (context) => {
    const directory = directoryOf(context);
    await using journal = open(directory, 64 * MIB).journal;
    for (let number = 0; number < 30_000; number++) {
      journal.record({ event: 'sent', trace: 'y'.repeat(60), parcel: idOf(number) });
      if (number % 5000 === 0) {
        await journal.find('nothing');
      }
    }
    await journal.find('nothing');
    const octets = readFileSync(path.join(directory, 'journal/way-1.ndjson'));
    assert.ok(octets.length > 2 * MIB);
    const line = octets.length / 30_000;
    for (const border of [MIB, 2 * MIB]) {
      const around = Math.floor(border / line);
      for (let number = around - 2; number <= around + 2; number++) {
        assert.equal((await journal.find(idOf(number))).length, 1, `line ${number}`);
      }
    }
  });

  test('writes what waits in one piece; what comes meanwhile waits for the next', async (context) => {
    const folder = directoryOf(context);
    const log = { warn: (details: unknown) => assert.fail(String(details)), error() {} };
    const files = new JournalFiles({ folder, name: 'way', maxOctets: MIB, log });
    const written = () => readFileSync(path.join(folder, 'way-1.ndjson'), 'latin1');
    files.add('first\n');
    files.add('second\n');
    const writing = files.write();
    await setImmediate();
    files.add('third\n');
    await writing;
    assert.equal(written(), 'first\nsecond\n');
    await files.write();
    assert.equal(written(), 'first\nsecond\nthird\n');
    await files.close();
  });

  test('is lost, with one warning, where it cannot be written, and nothing else fails', async (context) => {
    const directory = directoryOf(context);
    writeFileSync(path.join(directory, 'journal'), 'a file in the way');
    const { journal, warnings } = open(directory);
    await using _ = journal;
    for (let round = 0; round < 3; round++) {
      journal.record({ event: 'accepted', trace: 't', parcel: 'p' });
      assert.deepEqual(await journal.find('p'), []);
    }
    assert.equal(warnings.length, 1);
  });
});
