/** The strict reader of the tests refuses what some deployed client would refuse, drop or choke on. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { Tag } from '../../../src/awala/asn1/tags.ts';
import { constructed, octetString, primitive, sequence } from '../../../src/awala/asn1/writer.ts';
import { writeCargoMessageSet } from '../../../src/awala/cargo/cargo-message-set.ts';
import { writeParcelCollectionAck } from '../../../src/awala/cargo/parcel-collection-ack.ts';
import { writeEnvelopedData } from '../../../src/awala/cms/write-enveloped-data.ts';
import { type Certificate, readCertificate } from '../../../src/awala/pki/certificate.ts';
import { RamfType } from '../../../src/awala/ramf/ramf-message.ts';
import { type RamfFields, writeRamfMessage } from '../../../src/awala/ramf/write-ramf.ts';
import type { PublicSessionKey } from '../../../src/awala/session-key.ts';
import { machineRandom } from '../../../src/machine.ts';
import { handmadeCertificate, handmadeKey } from '../../support/handmade.ts';
import { issued, newSessionKey, selfIssued, testChain, testParcel } from '../../support/pki.ts';
import { readCargoStrictly } from '../../support/strict-cargo.ts';

const HOUR = 3_600_000;
const MIB = 1024 * 1024;

interface Faults {
  readonly items?: readonly Buffer[];
  readonly plaintext?: Buffer;
  readonly payload?: Buffer;
  readonly fields?: Partial<RamfFields>;
  readonly sessionKey?: PublicSessionKey;
  readonly authorities?: readonly Certificate[];
}

test('cargo that all clients take passes, and no other', async () => {
  const chain = await testChain();
  const { gateway, privateGateway } = chain;
  const own = await selfIssued(privateGateway);
  const cda = await issued(gateway, own, { isCa: false, pathLength: 0, notBefore: Date.now() - 3 * HOUR });
  const sessionKey = newSessionKey();
  const state = {
    certificate: privateGateway.certificate,
    authorization: cda.certificate,
    now: Date.now(),
    sessionKey: (keyId: Buffer) => (keyId.equals(sessionKey.keyId) ? sessionKey.privateKey : undefined),
  };
  const parcel = await testParcel(chain);
  const ack = writeParcelCollectionAck({ senderEndpointId: '0ab', recipientEndpointId: '0cd', parcelId: 'x' });

  async function cargoWith(faults: Faults = {}): Promise<Buffer> {
    const { items = [parcel, ack], authorities = [privateGateway.certificate] } = faults;
    const plaintext = faults.plaintext ?? writeCargoMessageSet(items);
    const recipient = faults.sessionKey ?? sessionKey;
    const fields = {
      recipient: { id: privateGateway.id },
      messageId: randomUUID(),
      creation: state.now - 3 * HOUR + 1000,
      ttl: 86_400,
      payload:
        faults.payload ?? writeEnvelopedData({ plaintext, recipient, sender: newSessionKey(), random: machineRandom }),
      ...faults.fields,
    };
    return writeRamfMessage(RamfType.CARGO, fields, cda, authorities);
  }

  assert.equal(readCargoStrictly(await cargoWith(), state).items.length, 2);
  const single = await testParcel(chain, { payload: randomBytes(5 * MIB) });
  assert.equal(readCargoStrictly(await cargoWith({ items: [single] }), state).items.length, 1);

  const half = await testParcel(chain, { payload: randomBytes(2.2 * MIB) });
  const cases: [string, Faults][] = [
    ['a constructed item', { plaintext: sequence(constructed(Tag.OCTET_STRING, octetString(parcel))) }],
    [
      'a set of indefinite length',
      { plaintext: Buffer.concat([Buffer.from([0x30, 0x80]), octetString(ack), Buffer.alloc(2)]) },
    ],
    ['4 MiB of several items', { items: [half, half] }],
    ['4,001 items', { plaintext: sequence(...Array.from({ length: 4001 }, () => octetString(ack))) }],
    ['no item', { items: [] }],
    ["no certificate of the CCA's signer", { authorities: [] }],
    ['another session key', { sessionKey: newSessionKey() }],
    ['a payload that is not encrypted', { payload: writeCargoMessageSet([parcel]) }],
    ['rubbish among its items', { items: [parcel, Buffer.from('rubbish')] }],
    ['a parcel that was cut short', { items: [parcel.subarray(0, -1)] }],
    ['a parcel whose signature is wrong', { items: [flipped(parcel)] }],
    ['an acknowledgement that was cut short', { items: [ack.subarray(0, -1)] }],
    ['a rotation that was cut short', { items: [Buffer.from('4177616c611000 3003'.replace(' ', ''), 'hex')] }],
    ['a date in the future', { fields: { creation: state.now + 60_000 } }],
    ['an end in the past', { fields: { ttl: 60 } }],
    ['another recipient', { fields: { recipient: { id: gateway.id } } }],
    [
      'an Internet address',
      { fields: { recipient: { id: privateGateway.id, internetAddress: 'gateway.example.com' } } },
    ],
    ['an id that is no UUID', { fields: { messageId: 'cargo' } }],
  ];
  for (const [fault, faults] of cases) {
    const cargo = await cargoWith(faults);
    assert.throws(() => readCargoStrictly(cargo, state), Error, fault);
  }
});

test('a serial number that a private gateway padded is not held against our cargo', async () => {
  const { gateway, privateGateway } = await testChain();
  const [issuer, subject] = await Promise.all([handmadeKey('private-gateway'), handmadeKey('internet-gateway')]);
  const now = Date.now();
  const raw = handmadeCertificate({
    subject,
    issuer,
    notBefore: now - 3 * HOUR,
    notAfter: now + HOUR,
    serialNumber: primitive(Tag.INTEGER, Buffer.from('0012345678901234', 'hex')),
  });
  const authorization = readCertificate(raw);
  const sessionKey = newSessionKey();
  const plaintext = writeCargoMessageSet([
    writeParcelCollectionAck({ senderEndpointId: '0ab', recipientEndpointId: '0cd', parcelId: 'x' }),
  ]);
  const fields = {
    recipient: { id: privateGateway.id },
    messageId: randomUUID(),
    creation: now - HOUR,
    ttl: 7200,
    payload: writeEnvelopedData({ plaintext, recipient: sessionKey, sender: newSessionKey(), random: machineRandom }),
  };
  const signer = { key: gateway.key, certificate: authorization };
  const cargo = await writeRamfMessage(RamfType.CARGO, fields, signer, [privateGateway.certificate]);
  const read = readCargoStrictly(cargo, {
    certificate: privateGateway.certificate,
    authorization,
    now,
    sessionKey: () => sessionKey.privateKey,
  });
  assert.equal(read.items.length, 1);
});

function flipped(octets: Buffer): Buffer {
  const copy = Buffer.from(octets);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
}
