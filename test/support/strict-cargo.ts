/**
 * A reader of cargo as strict as the strictest deployed client, for the cargo that we send: whatever some client would
 * refuse, drop, or choke on fails the test (protocol sections 2, 3, 5 and 6).
 */
import assert from 'node:assert/strict';
import {
  cargoItemKind,
  MAX_CARGO_ITEM_OCTETS,
  MAX_CARGO_ITEMS,
  readCargoMessageSet,
} from '../../src/awala/cargo/cargo-message-set.ts';
import { readCertificateRotation } from '../../src/awala/cargo/certificate-rotation.ts';
import { readParcelCollectionAck } from '../../src/awala/cargo/parcel-collection-ack.ts';
import { type EnvelopedData, readEnvelopedData } from '../../src/awala/cms/enveloped-data.ts';
import { MESSAGE_PREFIX_OCTETS } from '../../src/awala/message-prefix.ts';
import type { Certificate } from '../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { readParcel, verifyParcelForInternet } from '../../src/awala/ramf/parcel.ts';
import { RamfType, readRamfMessage, verifyRamfMessage } from '../../src/awala/ramf/ramf-message.ts';
import { assertDer } from './strict-der.ts';

/** Android never raises gRPC's own limit, so only a single item that is larger may make cargo of this size. */
const MAX_SHARED_CARGO = 4 * 1024 * 1024;

/** What the recipient knows. */
export interface CargoRecipientState {
  /** The certificate that signed the CCA. */
  readonly certificate: Certificate;
  /** The certificate that the recipient issued to the gateway (CDA). */
  readonly authorization: Certificate;
  /** ms since 1970 */
  readonly now: number;
  /** Finds the private half of one of the recipient's session keys, PKCS#8. */
  readonly sessionKey: (keyId: Buffer) => Buffer | undefined;
}

export interface StrictlyReadCargo {
  readonly messageId: string;
  readonly creation: number;
  readonly expiry: number;
  readonly items: readonly Buffer[];
  readonly envelope: EnvelopedData;
}

/** @throws AssertionError or AwalaError where some deployed client would not take the cargo, or an item in it */
export function readCargoStrictly(cargo: Buffer, state: CargoRecipientState): StrictlyReadCargo {
  const { certificate, authorization, now } = state;
  assertDer(cargo.subarray(MESSAGE_PREFIX_OCTETS), [authorization.raw, authorization.serialNumberField]);
  const message = readRamfMessage(RamfType.CARGO, cargo, new CertificateCache());
  assert.deepEqual(
    message.recipient,
    { id: certificate.subjectId },
    'recipient is another, or has an Internet address',
  );
  assert.ok(message.sender.raw.equals(authorization.raw), 'signer is not the one that was authorized');
  assert.ok(
    message.signedData.certificates.some(({ raw }) => raw.equals(certificate.raw)),
    "certificate of the CCA's signer is missing: Android's courier would drop the cargo",
  );
  assert.ok(message.creation <= now, 'cargo is dated in the future');
  assert.ok(message.expiry >= now, 'cargo has expired');
  verifyRamfMessage(message, now, 0);

  const { payload } = message;
  assertDer(payload);
  const envelope = readEnvelopedData(payload);
  const privateKey = state.sessionKey(envelope.recipientKeyId);
  assert.ok(privateKey, 'cargo is encrypted for an unknown session key');
  assert.equal(envelope.originatorKey.curve, 'P-256');
  assert.equal(envelope.originatorKeyId.length, 8);
  const plaintext = envelope.decrypt(privateKey);
  // Primitive OCTET STRINGs in a SEQUENCE of definite length.
  assertDer(plaintext);
  const items = Array.from(readCargoMessageSet(plaintext), ({ bytes }) => bytes);
  assert.ok(items.length >= 1 && items.length <= MAX_CARGO_ITEMS, `cargo has ${items.length} items`);
  assert.ok(cargo.length < MAX_SHARED_CARGO || items.length === 1, 'cargo of 4 MiB and more holds several items');
  for (const item of items) {
    readItemStrictly(item, now);
  }
  const { messageId, creation, expiry } = message;
  assert.match(messageId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  return { messageId, creation, expiry, items, envelope };
}

/** A malformed item would block every later cargo on Android. */
function readItemStrictly(item: Buffer, now: number): void {
  assert.ok(item.length <= MAX_CARGO_ITEM_OCTETS, 'item is too long');
  switch (cargoItemKind(item)) {
    case 'parcel': {
      verifyParcelForInternet(readParcel(item, new CertificateCache()), now, 0);
      return;
    }
    case 'parcel-collection-ack': {
      assertDer(item.subarray(MESSAGE_PREFIX_OCTETS));
      readParcelCollectionAck(item);
      return;
    }
    case 'certificate-rotation': {
      assertDer(item.subarray(MESSAGE_PREFIX_OCTETS));
      readCertificateRotation(item);
      return;
    }
    default:
      assert.fail(`item is none that a private gateway knows: ${item.subarray(0, 16).toString('hex')}`);
  }
}
