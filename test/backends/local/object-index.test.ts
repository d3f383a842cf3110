/** How the index takes in the log, in orders that a busy gateway may write. */
import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { beforeEach, suite, test } from 'node:test';
import { DELETE, MOVE, PUT, placeOf } from '../../../src/backends/local/log-records.ts';
import { ObjectIndex, type PlacedHead } from '../../../src/backends/local/object-index.ts';
import { SCHEMA } from '../../../src/backends/local/schema.ts';

const OLD = placeOf(1, 100);
const NEW = placeOf(2, 100);

let database: DatabaseSync;
let index: ObjectIndex;

beforeEach(() => {
  database = new DatabaseSync(':memory:');
  database.exec(`PRAGMA recursive_triggers = ON; ${SCHEMA.objects}`);
  index = new ObjectIndex(database);
});

function body(kind: typeof PUT | typeof MOVE, id: number, place: number, key = 'm/a'): PlacedHead {
  return [kind, id, key, 9e15, 1000, '{"parcel":"ä"}', 1, 2, place];
}

function end(id: number, key = 'm/a'): PlacedHead {
  return [DELETE, id, key];
}

function apply(...heads: PlacedHead[]): void {
  index.apply(JSON.stringify(heads), 1, false);
}

function rebuild(...heads: PlacedHead[]): void {
  index.apply(JSON.stringify(heads), undefined, true);
}

function entries(): unknown[] {
  return database
    .prepare('SELECT id, place FROM entries ORDER BY id')
    .all()
    .map(({ id, place }) => [id, place]);
}

/** Octets that are alive in each segment where there are any. */
function live(): unknown[] {
  return database
    .prepare('SELECT id FROM segments WHERE live <> 0 ORDER BY id')
    .all()
    .map(({ id }) => id);
}

suite('A body that is moved', () => {
  test('is found where it lies now, and counts there alone', () => {
    apply(body(PUT, 1, OLD));
    apply(body(MOVE, 1, NEW));
    assert.deepEqual(entries(), [[1, NEW]]);
    assert.deepEqual(live(), [2]);
    apply(end(1));
    assert.deepEqual([entries(), live()], [[], []]);
  });

  test('and deleted behind that at once leaves nothing that counts', () => {
    apply(body(PUT, 1, OLD));
    apply(body(MOVE, 1, NEW), end(1));
    assert.deepEqual([entries(), live()], [[], []]);
  });

  test('does not come back when it was deleted before, also where the index is made anew', () => {
    apply(body(PUT, 1, OLD));
    apply(end(1), body(MOVE, 1, NEW));
    assert.deepEqual(entries(), []);
    rebuild(body(PUT, 1, OLD), end(1), body(MOVE, 1, NEW));
    assert.deepEqual([entries(), live()], [[], []]);
  });

  test('does not take the place of a newer version that was written before the move', () => {
    apply(body(PUT, 1, OLD));
    apply(body(PUT, 2, NEW), body(MOVE, 1, placeOf(2, 5000)));
    assert.deepEqual(entries(), [[2, NEW]]);
    database.exec('DELETE FROM entries');
    rebuild(body(PUT, 2, NEW), body(MOVE, 1, placeOf(2, 5000)));
    assert.deepEqual(entries(), [[2, NEW]]);
    database.exec('DELETE FROM entries');
    rebuild(body(PUT, 2, NEW));
    rebuild(body(MOVE, 1, placeOf(2, 5000)));
    assert.deepEqual(entries(), [[2, NEW]]);
  });

  test('does not keep a later version from being deleted', () => {
    apply(body(PUT, 1, OLD));
    apply(body(PUT, 2, NEW));
    apply(body(MOVE, 1, placeOf(2, 5000)), end(2));
    assert.deepEqual(entries(), []);
    rebuild(body(PUT, 2, NEW), body(MOVE, 1, placeOf(2, 5000)), end(2));
    assert.deepEqual([entries(), live()], [[], []]);
  });

  test('brings its entry back where the index is made anew and its first place is gone', () => {
    rebuild(body(MOVE, 1, NEW));
    assert.deepEqual(entries(), [[1, NEW]]);
    rebuild(body(MOVE, 1, NEW));
    assert.deepEqual([entries(), live()], [[[1, NEW]], [2]]);
  });
});

suite('What was put', () => {
  test('and replaced or deleted within a slice leaves the newest alone', () => {
    apply(body(PUT, 1, OLD), body(PUT, 2, NEW), end(1));
    assert.deepEqual([entries(), live()], [[[2, NEW]], [2]]);
    apply(body(PUT, 3, NEW), end(3));
    assert.deepEqual([entries(), live()], [[], []]);
  });

  test('stays the newest, whatever the log tells once more', () => {
    apply(body(PUT, 2, NEW));
    rebuild(body(PUT, 1, OLD));
    assert.deepEqual([entries(), live()], [[[2, NEW]], [2]]);
  });
});

test('A deletion wins also where the key of the row is damaged', () => {
  apply(body(PUT, 1, OLD));
  database.exec("UPDATE entries SET key = 'm/b'");
  apply(body(MOVE, 1, NEW));
  assert.deepEqual([entries(), live()], [[[1, NEW]], [2]]);
  apply(end(1));
  assert.deepEqual([entries(), live()], [[], []]);
});

suite('The place up to which the log is in the index', () => {
  const progress = () => database.prepare('SELECT place FROM progress').get()?.['place'];

  test('is told once all that may be missing was gone through, and grows from then on', () => {
    index.apply('[]', 500, false);
    assert.equal(progress(), undefined);
    index.apply('[]', undefined, true);
    assert.equal(progress(), undefined);
    index.apply('[]', 400, true);
    assert.equal(progress(), 400);
    index.apply('[]', 500, false);
    index.apply('[]', 450, false);
    assert.equal(progress(), 500);
  });
});
