/** A recovery key that was split comes back from enough shares, and from nothing else. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { BackupError, type BackupErrorCode } from '../../src/backup/errors.ts';
import { joinShares, splitKey } from '../../src/backup/key-shares.ts';
import { fingerprintOf, newRecoveryKey, readKeyFile, writeKeyFile } from '../../src/backup/recovery-key.ts';

const KEY = await newRecoveryKey();

const split = (count: number, needed: number, key = KEY) => splitKey(key, { count, needed }, randomBytes);

async function refused(attempt: Promise<unknown>, code: BackupErrorCode): Promise<void> {
  await assert.rejects(attempt, (error) => {
    assert.ok(error instanceof BackupError);
    assert.equal(error.code, code);
    return true;
  });
}

suite('A recovery key', () => {
  test('comes back from any k of its n shares, in any order', async () => {
    const sizes = fc.integer({ min: 2, max: 9 }).chain((needed) =>
      fc.integer({ min: needed, max: 12 }).chain((count) =>
        fc.record({
          needed: fc.constant(needed),
          count: fc.constant(count),
          chosen: fc.shuffledSubarray([...Array(count).keys()], { minLength: needed }),
        }),
      ),
    );
    await fc.assert(
      fc.asyncProperty(sizes, async ({ needed, count, chosen }) => {
        const shares = await split(count, needed);
        assert.deepEqual(await joinShares(chosen.map((index) => shares[index] ?? '')), KEY);
      }),
      { numRuns: 50 },
    );
  });

  test('does not come back from fewer, be one of them there twice', async () => {
    const [first = '', second = ''] = await split(5, 3);
    await refused(joinShares([first, second]), 'SHARES_INSUFFICIENT');
    await refused(joinShares([first, second, first]), 'SHARES_INSUFFICIENT');
    await refused(joinShares([]), 'SHARES_INSUFFICIENT');
  });

  test('does not come back from shares of two splits, or of two keys', async () => {
    const [first = ''] = await split(3, 2);
    const [, second = ''] = await split(3, 2);
    const [, third = ''] = await split(3, 2, await newRecoveryKey());
    await refused(joinShares([first, second]), 'SHARES_INSUFFICIENT');
    await refused(joinShares([first, third]), 'SHARES_INSUFFICIENT');
  });

  test('is told nothing of by its shares but its fingerprint', async () => {
    for (const share of await split(3, 2)) {
      assert.ok(!share.includes(KEY.privateHalf));
      assert.ok(!share.includes(Buffer.from(KEY.privateHalf).toString('hex').slice(0, 40)));
    }
  });

  test('has typing errors in its shares noticed, wherever they are', async () => {
    const [share = '', other = ''] = await split(3, 2);
    for (let at = 0; at < share.length; at += 3) {
      const wrong = `${share.slice(0, at)}${share[at] === '0' ? '1' : '0'}${share.slice(at + 1)}`;
      await refused(joinShares([wrong, other]), 'RECOVERY_KEY_INVALID');
    }
    await refused(joinShares([share.slice(0, -1), other]), 'RECOVERY_KEY_INVALID');
    await refused(joinShares(['no share', other]), 'RECOVERY_KEY_INVALID');
  });

  test('is not taken for another whose fingerprint somebody wrote into its shares', async () => {
    const other = await newRecoveryKey();
    const forged = (await split(2, 2, other)).map((share) => {
      const text = share.replace(fingerprintOf(other.publicHalf), fingerprintOf(KEY.publicHalf)).slice(0, -9);
      return `${text} ${createHash('sha256').update(text).digest('hex').slice(0, 8)}`;
    });
    await assert.rejects(joinShares(forged), /give another key than the one that was split/);
  });

  test('is read from its file with whatever comments and line ends, and nothing else is', async () => {
    const text = writeKeyFile(KEY, Date.now());
    assert.deepEqual(await readKeyFile(text.replaceAll('\n', '\r\n')), KEY);
    assert.deepEqual(await readKeyFile(`  ${KEY.privateHalf}`), KEY);
    for (const wrong of [
      '',
      KEY.publicHalf,
      `${text}${text}`,
      KEY.privateHalf.toLowerCase(),
      KEY.privateHalf.slice(1),
    ]) {
      await refused(readKeyFile(wrong), 'RECOVERY_KEY_INVALID');
    }
    const typo = KEY.privateHalf.replace(/.$/, (last) => (last === 'Q' ? 'P' : 'Q'));
    await assert.rejects(readKeyFile(typo), (error: Error) => !error.message.includes('AGE-SECRET-KEY-1Q'));
  });
});
