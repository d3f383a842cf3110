/** What every key wrapping promises. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { KeyWrapping } from '../../src/gateway/ports.ts';

export interface KeyWrappingUnderTest extends AsyncDisposable {
  readonly wrapping: KeyWrapping;
}

export function keyWrappingContract(name: string, open: () => Promise<KeyWrappingUnderTest>): void {
  describe(`${name} as key wrapping`, () => {
    test('gives back what was wrapped, in its context only', async () => {
      await using under = await open();
      const secret = Buffer.from('a private key');
      const wrapped = await under.wrapping.wrap(secret, 'session-key/1/peer');
      assert.ok(!wrapped.includes(secret));
      assert.deepEqual(await under.wrapping.unwrap(wrapped, 'session-key/1/peer'), secret);
      await assert.rejects(under.wrapping.unwrap(wrapped, 'session-key/1/other'));
      await assert.rejects(under.wrapping.unwrap(wrapped, ''));
    });

    test('wraps the same secret differently each time', async () => {
      await using under = await open();
      const secret = Buffer.from('a private key');
      assert.notDeepEqual(await under.wrapping.wrap(secret, 'c'), await under.wrapping.wrap(secret, 'c'));
    });

    test('refuses octets that were changed anywhere, cut short or lengthened', async () => {
      await using under = await open();
      const wrapped = await under.wrapping.wrap(Buffer.from('secret'), 'c');
      for (let position = 0; position < wrapped.length; position++) {
        const changed = Buffer.from(wrapped);
        changed.writeUInt8(changed.readUInt8(position) ^ 1, position);
        await assert.rejects(under.wrapping.unwrap(changed, 'c'), `octet ${position}`);
        await assert.rejects(under.wrapping.unwrap(wrapped.subarray(0, position), 'c'), `length ${position}`);
      }
      await assert.rejects(under.wrapping.unwrap(Buffer.concat([wrapped, Buffer.of(0)]), 'c'));
    });

    test('wraps secrets of no octets and of 64 KiB', async () => {
      await using under = await open();
      for (const secret of [Buffer.alloc(0), Buffer.alloc(64 * 1024, 7)]) {
        assert.deepEqual(await under.wrapping.unwrap(await under.wrapping.wrap(secret, 'c'), 'c'), secret);
      }
    });
  });
}
