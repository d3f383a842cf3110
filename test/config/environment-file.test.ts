/** Environment files are read as systemd reads them. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { readEnvironmentFile } from '../../src/config/environment-file.ts';

const read = (text: string) => {
  const { values, faults } = readEnvironmentFile(text);
  assert.deepEqual(faults, []);
  return Object.fromEntries(values);
};

suite('An environment file', () => {
  test('has a setting a line, comments, and white space that does not count', () => {
    assert.deepEqual(read('# A=1\n; B=2\n\n  C=3  \nD = 4\nE=\nF=a b # no comment\r\nG=last'), {
      C: '3',
      D: '4',
      E: '',
      F: 'a b # no comment',
      G: 'last',
    });
  });

  test('has values in quotes, with what is escaped in them, and over several lines', () => {
    const text = 'A=\'a "b" \\\\ \'\nB="a \\"b\\" \\$c \\d"\nC=one\\\ntwo\nD="one\ntwo"\nE=a\\ b\nF=it\'s\nG=\'a\'"b"';
    assert.deepEqual(read(text), {
      A: 'a "b" \\\\ ',
      B: 'a "b" $c \\d',
      C: 'onetwo',
      D: 'one\ntwo',
      E: 'a b',
      F: "it's",
      G: 'ab',
    });
  });

  test('tells each fault with its line', () => {
    const { values, faults } = readEnvironmentFile('A=1\nnonsense\n9=1\nB="one\\\n"\nA=2\nC=\'open\nD=1\n');
    assert.deepEqual(faults, [
      'Line 2 is not NAME=value',
      'Line 3 is not NAME=value',
      'Line 6 sets A once more',
      'Line 7 has a quote that is not closed',
    ]);
    assert.deepEqual(Object.fromEntries(values), { A: '1', B: 'one' });
  });
});
