/**
 * RAMF messages that we write: their octets, what is refused, and that the official library accepts them.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import {
  Cargo,
  CargoCollectionAuthorization,
  Certificate as OfficialCertificate,
  Parcel as OfficialParcel,
} from '@relaycorp/relaynet-core';
import fc from 'fast-check';
import { CertificateCache } from '../../../src/awala/pki/certificate-cache.ts';
import { readParcel, verifyParcelForMailbox } from '../../../src/awala/ramf/parcel.ts';
import { MAX_PAYLOAD_LENGTH, MAX_TTL, RamfType, readRamfMessage } from '../../../src/awala/ramf/ramf-message.ts';
import { type RamfFields, writeParcel, writeRamfMessage } from '../../../src/awala/ramf/write-ramf.ts';
import { arrayBuffer } from '../../support/octets.ts';
import {
  authorities,
  issued,
  selfIssued,
  type TestChain,
  testChain,
  testIdentity,
  testParcel,
} from '../../support/pki.ts';
import { assertRejected } from '../../support/refusals.ts';
import { assertDer } from '../../support/strict-der.ts';

const HOUR = 3_600_000;
const PREFIX_OCTETS = 7;

const CACHE_OCTETS = 1024 * 1024;

let chain: TestChain;
let trusted: OfficialCertificate[];
before(async () => {
  chain = await testChain();
  trusted = [OfficialCertificate.deserialize(arrayBuffer(chain.gateway.certificate.raw))];
});

function fields(parts: Partial<RamfFields> = {}): RamfFields {
  return {
    recipient: { id: chain.endpoint.id },
    messageId: 'message',
    creation: Math.floor(Date.now() / 1000) * 1000 - HOUR,
    ttl: 86_400,
    payload: Buffer.from('payload'),
    ...parts,
  };
}

function cache() {
  return new CertificateCache(CACHE_OCTETS);
}

describe('A parcel that we write', () => {
  it('starts with its type and is DER from there on', async () => {
    for (const length of [0, 1024, 70_000, 300_000]) {
      const bytes = await testParcel(chain, { payload: Buffer.alloc(length, 'x') });
      assert.equal(bytes.subarray(0, PREFIX_OCTETS).toString('hex'), '4177616c615000');
      assertDer(bytes.subarray(PREFIX_OCTETS));
    }
  });

  it('has its fields octet by octet as deployed clients have them', async () => {
    const message = fields({
      recipient: { id: '0abc', internetAddress: 'example.com' },
      messageId: 'id',
      creation: Date.UTC(2026, 0, 2, 3, 4, 5, 678),
      ttl: 128,
      payload: Buffer.from('ff00', 'hex'),
    });
    const { content } = readParcel(await writeParcel(message, chain.sender), cache()).signedData;
    const expected = [
      '3031',
      `a013 8004${hex('0abc')} 810b${hex('example.com')}`,
      `8102${hex('id')}`,
      `820e${hex('20260102030405')}`,
      '83020080',
      '8402ff00',
    ];
    assert.equal(Buffer.concat(content ?? []).toString('hex'), expected.join('').replaceAll(' ', ''));
  });

  it('is valid for the mailbox of its recipient', async () => {
    const parcel = readParcel(await testParcel(chain, { messageId: 'one' }), cache());
    const authorized = verifyParcelForMailbox(parcel, [chain.gateway.certificate], Date.now(), 0);
    assert.equal(authorized.mailbox, chain.privateGateway.id);
    assert.equal(parcel.messageId, 'one');
    assert.equal(parcel.sender.subjectId, chain.sender.id);
  });

  it('is valid to the official library, path and all', async () => {
    const payload = Buffer.alloc(200_000, 'long');
    const bytes = await testParcel(chain, { messageId: 'one', ttl: 7200, payload });
    const parcel = await OfficialParcel.deserialize(arrayBuffer(bytes));
    await parcel.validate(trusted);
    assert.equal(parcel.id, 'one');
    assert.equal(parcel.ttl, 7200);
    assert.deepEqual(parcel.recipient, { id: chain.endpoint.id, internetAddress: undefined });
    assert.ok(parcel.payloadSerialized.equals(payload));
    assert.equal(await parcel.senderCertificate.calculateSubjectId(), chain.sender.id);
    const path = await parcel.getSenderCertificationPath(trusted);
    assert.equal(path.length, 4);
  });

  it('is valid to the official library when its serial number has the highest bit set', async () => {
    // Octets that would be a negative INTEGER get a zero before them, in the certificate and in what names it.
    const signer = await selfIssued(await testIdentity('stranger'), { serialNumber: Buffer.alloc(16, 0xff) });
    const message = fields({ recipient: { id: chain.endpoint.id, internetAddress: 'example.com' } });
    const parcel = await OfficialParcel.deserialize(arrayBuffer(await writeParcel(message, signer)));
    await parcel.validate();
    assert.equal(await parcel.senderCertificate.calculateSubjectId(), signer.id);
  });

  it('reads back as it was written, whatever its fields', async () => {
    const text = (maxLength: number) =>
      fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength });
    const plain = { noNullPrototype: true } as const;
    const message = fc.record(
      {
        recipient: fc.oneof(
          fc.record({ id: fc.stringMatching(/^0[a-f0-9]{1,64}$/) }, plain),
          fc.record({ id: fc.stringMatching(/^0[a-f0-9]{1,64}$/), internetAddress: fc.domain() }, plain),
        ),
        messageId: text(64),
        creation: fc.integer({ min: 0, max: 253_402_300_799 }).map((seconds) => seconds * 1000),
        ttl: fc.integer({ min: 0, max: MAX_TTL }),
        payload: fc.uint8Array({ maxLength: 2000 }).map((octets) => Buffer.from(octets)),
      },
      plain,
    );
    await fc.assert(
      fc.asyncProperty(message, async (written) => {
        const { recipient, messageId, creation, ttl, payload } = readParcel(
          await writeParcel(written, chain.sender),
          cache(),
        );
        assert.deepEqual({ recipient, messageId, creation, ttl, payload: Buffer.from(payload) }, written);
      }),
      { numRuns: 100 },
    );
  });
});

describe('Other RAMF messages that we write', () => {
  it('are what the official library reads: a cargo', async () => {
    const cda = await issued(chain.gateway, chain.privateGateway, { isCa: false, pathLength: 0 });
    const message = fields({ recipient: { id: chain.privateGateway.id } });
    const bytes = await writeRamfMessage(RamfType.CARGO, message, cda, [chain.privateGateway.certificate]);
    assert.equal(bytes.subarray(0, PREFIX_OCTETS).toString('hex'), '4177616c614300');
    const cargo = await Cargo.deserialize(arrayBuffer(bytes));
    await cargo.validate([OfficialCertificate.deserialize(arrayBuffer(chain.privateGateway.certificate.raw))]);
    assert.equal(await cargo.senderCertificate.calculateSubjectId(), chain.gateway.id);
  });

  it('are what the official library reads: a cargo collection authorization', async () => {
    const message = fields({ recipient: { id: chain.gateway.id, internetAddress: 'example.com' } });
    const bytes = await writeRamfMessage(RamfType.CARGO_COLLECTION_AUTHORIZATION, message, chain.privateGateway);
    const cca = await CargoCollectionAuthorization.deserialize(arrayBuffer(bytes));
    await cca.validate();
    assert.equal(cca.recipient.id, chain.gateway.id);
  });

  it('are read by their own type only', async () => {
    const bytes = await writeRamfMessage(
      RamfType.REVOCATION,
      fields({ payload: Buffer.alloc(0) }),
      chain.privateGateway,
    );
    assert.equal(readRamfMessage(RamfType.REVOCATION, bytes, cache()).payload.length, 0);
    assert.throws(() => readParcel(bytes, cache()), { code: 'RAMF_FORMAT_UNKNOWN' });
  });
});

describe('Writing a RAMF message refuses', () => {
  it('a recipient that is not a node id or address', async () => {
    for (const recipient of [
      { id: '' },
      { id: '1abc' },
      { id: '0ABC' },
      { id: `0${'a'.repeat(1024)}` },
      { id: '0abc', internetAddress: 'localhost' },
      { id: '0abc', internetAddress: 'ex\u00e4mple.com' },
    ]) {
      await assertRejected('RAMF_MALFORMED', writeParcel(fields({ recipient }), chain.sender));
    }
  });

  it('a message id that is too long or not ASCII', async () => {
    for (const messageId of ['x'.repeat(65), 'caf\u00e9', 'new\nline']) {
      await assertRejected('RAMF_MALFORMED', writeParcel(fields({ messageId }), chain.sender));
    }
  });

  it('a creation date that DATE-TIME has no room for', async () => {
    for (const creation of [Number.NaN, 1e15, -1e15]) {
      await assertRejected('RAMF_MALFORMED', writeParcel(fields({ creation }), chain.sender));
    }
  });

  it('a time to live of over 180 days, or that is not a number of seconds', async () => {
    for (const ttl of [MAX_TTL + 1, -1, 0.5, Number.NaN]) {
      await assertRejected('MESSAGE_TTL_TOO_LONG', writeParcel(fields({ ttl }), chain.sender));
    }
  });

  it('a payload of more than 8 MiB', async () => {
    const payload = Buffer.alloc(MAX_PAYLOAD_LENGTH + 1);
    await assertRejected('MESSAGE_TOO_LARGE', writeParcel(fields({ payload }), chain.sender));
    const largest = await writeParcel(fields({ payload: payload.subarray(1) }), chain.sender, authorities(chain));
    assert.equal(readParcelPayload(largest), MAX_PAYLOAD_LENGTH);
  });
});

function readParcelPayload(bytes: Buffer): number {
  return readRamfMessage(RamfType.PARCEL, bytes, cache()).payload.length;
}

function hex(text: string): string {
  return Buffer.from(text).toString('hex');
}
