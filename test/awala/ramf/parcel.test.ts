import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cargo, Parcel as OfficialParcel } from '@relaycorp/relaynet-core';
import fc from 'fast-check';
import { context, contextConstructed } from '../../../src/awala/asn1/tags.ts';
import { constructed, integer, octetString, primitive } from '../../../src/awala/asn1/writer.ts';
import { AwalaError, type AwalaErrorCode } from '../../../src/awala/errors.ts';
import { type Certificate, readCertificate } from '../../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import {
  MAX_PARCEL_LENGTH,
  type Parcel,
  readParcel,
  verifyParcelForInternet,
  verifyParcelForMailbox,
} from '../../../src/awala/ramf/parcel.ts';
import {
  MAX_MESSAGE_LENGTH,
  MAX_PAYLOAD_LENGTH,
  RamfType,
  readRamfMessage,
  verifyRamfMessage,
} from '../../../src/awala/ramf/ramf-message.ts';
import { handmadeRamfContent, indefinite, recipientField, signingTimeAttribute } from '../../support/handmade.ts';
import { DAY, HandmadeChain, HOUR, identifierOf, NOW } from '../../support/handmade-chain.ts';
import { officialChain, officialParcel } from '../../support/official-chain.ts';

const DRIFT = 2 * HOUR;

const chain = await HandmadeChain.make();
const { keys } = chain;
const official = await officialChain();
const officialTrusted = [readCertificate(Buffer.from(official.gateway.serialize()))];

function read(bytes: Buffer): Parcel {
  return readParcel(bytes, new CertificateCache());
}

function forMailbox(bytes: Buffer, now = NOW, drift = 0, trusted: readonly Certificate[] = chain.trusted()) {
  return verifyParcelForMailbox(read(bytes), trusted, now, drift);
}

function refuses(code: AwalaErrorCode, action: () => unknown): void {
  assert.throws(action, (error) => error instanceof AwalaError && error.code === code);
}

/** A message of an exact length, by its payload's. */
function messageOf(length: number, build: (payload: Buffer) => Buffer): Buffer {
  const overhead = build(Buffer.alloc(length - 10_000)).length - (length - 10_000);
  return build(Buffer.alloc(length - overhead));
}

describe('Parcel', () => {
  it("reads and verifies the official library's", async () => {
    const bytes = await officialParcel(official, { id: 'the id', payload: Buffer.from('the payload') });
    const parcel = read(bytes);
    assert.equal(parcel.raw, bytes);
    assert.deepEqual(parcel.recipient, { id: official.keys.endpoint.id });
    assert.equal(parcel.messageId, 'the id');
    assert.equal(parcel.payload.toString(), 'the payload');
    assert.equal(parcel.sender.subjectId, official.keys.sender.id);
    assert.equal(parcel.expiry, parcel.creation + DAY);
    const { mailbox, pda, path } = verifyParcelForMailbox(parcel, officialTrusted, Date.now(), 0);
    assert.equal(mailbox, official.keys.privateGateway.id);
    assert.deepEqual(pda.raw, Buffer.from(official.pda.serialize()));
    const { keys: owners } = official;
    assert.deepEqual(
      path.map(({ subjectId }) => subjectId),
      [owners.sender.id, owners.endpoint.id, owners.privateGateway.id, owners.gateway.id],
    );
  });

  it("reads the official library's with an Internet address, and long ones in segments", async () => {
    const recipient = { id: official.keys.endpoint.id, internetAddress: 'example.com' };
    const payload = Buffer.alloc(300_000, 'payload');
    const parcel = read(await officialParcel(official, { recipient, payload }));
    assert.deepEqual(parcel.recipient, recipient);
    assert.ok((parcel.signedData.content?.length ?? 0) > 1);
    assert.deepEqual(parcel.payload, payload);
    verifyParcelForInternet(parcel, Date.now(), 0);
  });

  it('is read by the official library when made by hand', async () => {
    const bytes = new Uint8Array(chain.parcel()).buffer;
    const parcel = await OfficialParcel.deserialize(bytes);
    assert.equal(parcel.id, 'message');
    assert.equal(parcel.creationDate.getTime(), NOW - HOUR);
  });

  it('is verified as Kotlin clients write it', () => {
    const bytes = chain.parcel({
      signedData: { isIndefinite: true, segmentLength: 1000, moreAttributes: [signingTimeAttribute(NOW)] },
      certificates: ({ pda, endpoint, privateGateway }) => [privateGateway, chain.certificates.gateway, endpoint, pda],
    });
    assert.equal(forMailbox(bytes).mailbox, keys.privateGateway.id);
  });

  it('is read the same however its content is split', () => {
    const content = handmadeRamfContent({ recipientId: keys.endpoint.id, creation: NOW - HOUR });
    for (let segmentLength = 1; segmentLength <= content.length; segmentLength++) {
      const parcel = read(chain.parcel({ signedData: { content, segmentLength } }));
      assert.equal(parcel.recipient.id, keys.endpoint.id);
      assert.equal(parcel.messageId, 'message');
      assert.equal(parcel.creation, NOW - HOUR);
      assert.equal(parcel.payload.toString(), 'payload');
    }
  });

  it('is read with its content in BER, segmented or not, short or long', () => {
    for (const length of [10, 20_000]) {
      const half = Buffer.alloc(length / 2, 'half');
      const payload = indefinite(context(4), octetString(half), octetString(half));
      const definite = handmadeRamfContent({ recipientId: keys.endpoint.id, creation: NOW, payload });
      const fields = definite.subarray(definite.indexOf(recipientField(keys.endpoint.id)));
      for (const content of [definite, indefinite(0x30, fields)]) {
        for (const segmentLength of [7, 1000, 100_000]) {
          const parcel = read(chain.parcel({ signedData: { content, segmentLength } }));
          assert.deepEqual(parcel.payload, Buffer.concat([half, half]));
        }
      }
    }
  });

  it('may have an empty payload, and fields as long as they may be', () => {
    const recipientId = '0'.repeat(1024);
    const bytes = chain.parcel({
      ramf: {
        recipient: recipientField(recipientId, `${'a'.repeat(63)}.example`),
        messageId: primitive(context(1), Buffer.alloc(64, 'm')),
        ttl: integer(15_552_000, context(3)),
        payload: primitive(context(4), Buffer.alloc(0)),
      },
    });
    const parcel = read(bytes);
    assert.equal(parcel.recipient.id, recipientId);
    assert.equal(parcel.payload.length, 0);
    assert.equal(parcel.expiry - parcel.creation, 180 * DAY);
  });

  it(`may span ${MAX_PARCEL_LENGTH} octets and not one more`, () => {
    const build = (payload: Buffer) => chain.parcel({ ramf: { payload: primitive(context(4), payload) } });
    const bytes = messageOf(MAX_PARCEL_LENGTH, build);
    assert.equal(bytes.length, MAX_PARCEL_LENGTH);
    assert.equal(forMailbox(bytes).mailbox, keys.privateGateway.id);
    refuses('MESSAGE_TOO_LARGE', () => read(messageOf(MAX_PARCEL_LENGTH + 1, build)));
  });

  it('may be created and expire as far from now as clocks drift', () => {
    const ahead = chain.parcel({ ramf: { creation: NOW + DRIFT } });
    forMailbox(ahead, NOW, DRIFT);
    refuses('MESSAGE_FROM_FUTURE', () => forMailbox(ahead, NOW - 1, DRIFT));
    const expired = chain.parcel({ ramf: { creation: NOW - DRIFT - 60_000, ttl: integer(60, context(3)) } });
    forMailbox(expired, NOW, DRIFT);
    refuses('MESSAGE_EXPIRED', () => forMailbox(expired, NOW + 1, DRIFT));
  });

  it("must be created within its sender's certificate, as far as clocks drift", () => {
    const bytes = chain.parcel({ pda: { notBefore: NOW - HOUR + 5000 } });
    forMailbox(bytes, NOW, 5000);
    refuses('CERTIFICATE_NOT_YET_VALID', () => forMailbox(bytes, NOW, 4999));
  });

  it('goes to the Internet without any path to us, signed by a sender that issued itself', () => {
    const certificate = chain.certificate('sender', 'sender');
    const bytes = chain.parcel({
      ramf: { recipient: recipientField(keys.stranger.id, 'example.com') },
      signedData: { certificates: [certificate], identifier: identifierOf(certificate) },
    });
    assert.equal(verifyParcelForInternet(read(bytes), NOW, 0).parcel.sender.subjectId, keys.sender.id);
    refuses('PARCEL_UNAUTHORIZED', () => forMailbox(bytes));
    refuses('MESSAGE_EXPIRED', () => verifyParcelForInternet(read(bytes), NOW + 2 * DAY, 0));
    const expired = chain.parcel({ pda: { notAfter: NOW - 1000 } });
    refuses('CERTIFICATE_EXPIRED', () => verifyParcelForInternet(read(expired), NOW, 0));
    const forged = chain.parcel({ signedData: { signer: keys.stranger } });
    refuses('SIGNATURE_INVALID', () => verifyParcelForInternet(read(forged), NOW, 0));
  });

  it('is verified the second time without its path being checked again, and still refused when it is forged', () => {
    const cache = new CertificateCache();
    const bytes = chain.parcel();
    const verify = (parcel: Buffer) => verifyParcelForMailbox(readParcel(parcel, cache), chain.trusted(), NOW, 0);
    verify(bytes);
    const known = cache.size;
    verify(bytes);
    assert.equal(cache.size, known);
    assert.equal(readParcel(bytes, cache).sender, readParcel(bytes, cache).sender);
    refuses('SIGNATURE_INVALID', () => verify(chain.parcel({ signedData: { signer: keys.stranger } })));
    refuses('CERTIFICATE_SIGNATURE_INVALID', () => verify(chain.parcel({ pda: { signature: Buffer.alloc(256, 1) } })));
  });

  it('says the same or is refused by an AwalaError when any octet is damaged', () => {
    const bytes = chain.parcel();
    const intact = read(bytes);
    const trusted = chain.trusted();
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes);
      damaged[at] = (damaged[at] as number) ^ (1 << ((at * 7) % 8));
      sameOrRefused(damaged, intact, trusted);
    }
  });

  it('says the same or is refused by an AwalaError when it is cut short, or octets are put in or taken out', () => {
    const bytes = chain.parcel({ signedData: { isIndefinite: true, segmentLength: 100 } });
    const intact = read(bytes);
    const trusted = chain.trusted();
    for (let length = 0; length < bytes.length; length += 3) {
      refusedInSomeWay(() => read(bytes.subarray(0, length)));
    }
    fc.assert(
      fc.property(fc.nat(bytes.length), fc.nat(40), fc.uint8Array({ maxLength: 40 }), (at, removed, inserted) => {
        const damaged = Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)]);
        sameOrRefused(damaged, intact, trusted);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('RAMF message', () => {
  for (const [name, type] of Object.entries(RamfType)) {
    it(`of type ${name} is read as such and as no other`, () => {
      const bytes = chain.parcel();
      bytes[5] = type;
      const message = readRamfMessage(type, bytes, new CertificateCache());
      assert.equal(message.type, type);
      verifyRamfMessage(message, NOW, 0);
      for (const other of Object.values(RamfType).filter((each) => each !== type)) {
        refuses('RAMF_FORMAT_UNKNOWN', () => readRamfMessage(other, bytes, new CertificateCache()));
      }
    });
  }

  it("reads the official library's cargo", async () => {
    const cargo = new Cargo({ id: official.keys.privateGateway.id }, official.gateway, Buffer.from('payload'));
    const bytes = Buffer.from(await cargo.serialize(official.keys.gateway.privateKey));
    const message = readRamfMessage(RamfType.CARGO, bytes, new CertificateCache());
    verifyRamfMessage(message, Date.now(), 1000);
    assert.equal(message.payload.toString(), 'payload');
  });

  it(`may carry ${MAX_PAYLOAD_LENGTH} octets and not one more`, () => {
    const cargo = (payload: Buffer) => {
      const bytes = chain.parcel({ ramf: { payload: primitive(context(4), payload) } });
      bytes[5] = RamfType.CARGO;
      return readRamfMessage(RamfType.CARGO, bytes, new CertificateCache());
    };
    assert.equal(cargo(Buffer.alloc(MAX_PAYLOAD_LENGTH)).payload.length, MAX_PAYLOAD_LENGTH);
    refuses('MESSAGE_TOO_LARGE', () => cargo(Buffer.alloc(MAX_PAYLOAD_LENGTH + 1)));
  });

  it(`may span ${MAX_MESSAGE_LENGTH} octets and not one more`, () => {
    const cargo = (padding: Buffer) => {
      const bytes = chain.parcel({
        certificates: ({ pda }) => [pda, constructed(contextConstructed(1), octetString(padding))],
      });
      bytes[5] = RamfType.CARGO;
      return bytes;
    };
    const largest = messageOf(MAX_MESSAGE_LENGTH, cargo);
    assert.equal(readRamfMessage(RamfType.CARGO, largest, new CertificateCache()).messageId, 'message');
    const larger = messageOf(MAX_MESSAGE_LENGTH + 1, cargo);
    refuses('MESSAGE_TOO_LARGE', () => readRamfMessage(RamfType.CARGO, larger, new CertificateCache()));
  });
});

/** What verification says of a parcel. */
function verdict({ recipient, messageId, creation, ttl, payload, sender }: Parcel): unknown {
  return { recipient, messageId, creation, ttl, payload: payload.toString('hex'), sender: sender.subjectId };
}

function sameOrRefused(damaged: Buffer, intact: Parcel, trusted: readonly Certificate[]): void {
  let parcel: Parcel;
  try {
    ({ parcel } = verifyParcelForMailbox(read(damaged), trusted, NOW, 0));
  } catch (error) {
    assert.ok(error instanceof AwalaError, String(error));
    return;
  }
  assert.deepEqual(verdict(parcel), verdict(intact));
}

function refusedInSomeWay(action: () => unknown): void {
  assert.throws(action, (error) => error instanceof AwalaError);
}
