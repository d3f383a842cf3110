/** Reading a segment of the log lets others have their turn, however long nothing is found. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { DELETE, PUT, SEGMENT_MAGIC, writeRecordHead } from '../../../src/backends/local/log-records.ts';
import { readSegment } from '../../../src/backends/local/segment-reader.ts';
import { temporaryDirectory } from '../../support/local-backends.ts';

const MIB = 1024 * 1024;
const marker = randomBytes(8);

function record(head: unknown, body = Buffer.alloc(0)): Buffer {
  const octets = writeRecordHead(JSON.stringify(head), body.length);
  octets.set(marker, 0);
  return Buffer.concat([octets, body]);
}

const last = record([DELETE, 7, 'm/last']);
const wiped = record([PUT, 1, 'm/wiped', 9e15, MIB, '{}', 1, 2], Buffer.alloc(MIB));

for (const [what, stretch] of Object.entries({
  'damaged octets': Buffer.alloc(16 * MIB, 'x'),
  'octets that are gone': Buffer.alloc(16 * MIB),
  'bodies that were overwritten as they expired': Buffer.concat(Array(16).fill(wiped)),
})) {
  test(`Over 16 MiB of ${what}, whoever reads pauses each MiB or so, and finds what comes behind`, async () => {
    await using directory = await temporaryDirectory();
    const path = join(directory.path, 'segment');
    const octets = Buffer.concat([SEGMENT_MAGIC, marker, stretch, last]);
    await writeFile(path, octets);
    await using file = await open(path);
    let pauses = 0;
    const found: unknown[] = [];
    const damage: unknown[] = [];
    for (const each of readSegment(file.fd, {
      from: 0,
      end: octets.length,
      verifiesBodies: true,
      onDamage: ({ from, to, isUnreadable }) => damage.push([from, to, isUnreadable]),
    })) {
      if (each) {
        found.push(each.head[2]);
      } else {
        pauses++;
      }
    }
    assert.ok(pauses >= 12, `${pauses} pauses`);
    assert.deepEqual(found, ['m/last']);
    const lost = [[SEGMENT_MAGIC.length + marker.length, octets.length - last.length, false]];
    assert.deepEqual(damage, what.startsWith('bodies') ? [] : lost);
  });
}
