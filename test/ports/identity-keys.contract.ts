/** What every keeper of identity keys promises. */

import assert from 'node:assert/strict';
import { constants, createPublicKey, verify } from 'node:crypto';
import { describe, test } from 'node:test';
import type { IdentityKey, IdentityKeys } from '../../src/gateway/ports.ts';

export interface IdentityKeysUnderTest extends AsyncDisposable {
  readonly identityKeys: IdentityKeys;
}

/** DER of AlgorithmIdentifier { rsaEncryption, NULL }, which the node id depends on. */
const RSA_ENCRYPTION = Buffer.from('300d06092a864886f70d0101010500', 'hex');

export function identityKeysContract(name: string, open: () => Promise<IdentityKeysUnderTest>): void {
  describe(`${name} as a keeper of identity keys`, () => {
    test('makes RSA keys of 2048 bits that sign with RSA-PSS', async () => {
      await using under = await open();
      const key = await under.identityKeys.create();
      const publicKey = createPublicKey({ key: key.spki, format: 'der', type: 'spki' });
      assert.equal(publicKey.asymmetricKeyDetails?.modulusLength, 2048);
      assert.ok(key.spki.includes(RSA_ENCRYPTION));
      await assertSigns(key);
    });

    test('opens a key again by its reference', async () => {
      await using under = await open();
      const made = await under.identityKeys.create();
      const other = await under.identityKeys.create();
      const opened = await under.identityKeys.open(made.reference);
      assert.equal(opened.reference, made.reference);
      assert.deepEqual(opened.spki, made.spki);
      assert.notDeepEqual(other.spki, made.spki);
      await assertSigns(opened);
    });

    test('does not open what it never made', async () => {
      await using under = await open();
      await assert.rejects(under.identityKeys.open('no-such-key'));
    });

    test('never gives a private half away', async () => {
      await using under = await open();
      const made = await under.identityKeys.create();
      const opened = await under.identityKeys.open(made.reference);
      for (const { privateKey, crypto } of [made, opened]) {
        assert.equal(privateKey.extractable, false);
        await assert.rejects(crypto.subtle.exportKey('pkcs8', privateKey));
      }
    });
  });
}

async function assertSigns(key: IdentityKey): Promise<void> {
  const data = Buffer.from('to be signed');
  const signature = await key.crypto.subtle.sign({ name: 'RSA-PSS', saltLength: 32 }, key.privateKey, data);
  const publicKey = {
    key: createPublicKey({ key: key.spki, format: 'der', type: 'spki' }),
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: 32,
  };
  assert.ok(verify('sha256', data, publicKey, Buffer.from(signature)));
  assert.ok(
    await key.crypto.subtle.verify({ name: 'RSA-PSS', saltLength: 32 }, key.publicKey, signature, data),
    'the public half belongs to the private',
  );
}
