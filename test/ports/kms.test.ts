/** Keys in Cloud KMS keep the promises of their ports, by the vendor's client against the emulator. */

import { openKmsRoom } from '../support/kms.ts';
import { identityKeysContract } from './identity-keys.contract.ts';
import { keyWrappingContract } from './key-wrapping.contract.ts';

const NAME = 'Cloud KMS';

async function open() {
  const room = await openKmsRoom();
  return { ...room.keys, [Symbol.asyncDispose]: () => room[Symbol.asyncDispose]() };
}

identityKeysContract(NAME, open);
keyWrappingContract(NAME, open);
