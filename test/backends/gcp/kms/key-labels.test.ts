/** What labels of keys are made of names. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { type KeyOwner, ownerLabels } from '../../../../src/backends/gcp/kms/key-labels.ts';

const OWNER: KeyOwner = {
  internetAddress: 'gateway.example.org',
  bucket: 'relay.messages',
  database: { project: 'relay-1234', id: 'records' },
};

const bucketLabel = (bucket: string) => ownerLabels({ ...OWNER, bucket }).bucket;

suite('The labels of a key', () => {
  test('are the names that they stand for, where names go into labels', () => {
    assert.deepEqual(ownerLabels(OWNER), {
      'internet-address': 'gateway_example_org',
      bucket: 'relay_messages',
      project: 'relay-1234',
      database: 'records',
    });
  });

  test('tell names from each other that would be written alike, or whose ends are too far off', () => {
    const long = 'a'.repeat(100);
    const names = ['a.b', 'a_b', 'a-b', 'A.b', 'a:b', long, `${long}b`, `${'a'.repeat(46)}_`];
    const labels = names.map(bucketLabel);
    assert.equal(new Set(labels).size, names.length, labels.join());
    for (const label of labels) {
      assert.match(label, /^[a-z0-9_-]{1,63}$/);
    }
    assert.equal(bucketLabel('a'.repeat(63)), 'a'.repeat(63));
    assert.match(bucketLabel('a'.repeat(64)), /^a{46}-[0-9a-f]{16}$/);
  });

  test('say of what is not in the cloud that it is not, as no name does', () => {
    const { bucket, project, database } = ownerLabels({ ...OWNER, bucket: undefined, database: undefined });
    assert.deepEqual([bucket, project, database], ['_local', '_local', '_local']);
    assert.notEqual(bucketLabel('local'), '_local');
    assert.notEqual(bucketLabel('.local'), bucketLabel('_local'));
  });
});
