/**
 * Parcels of the corpus: each with one fault, and the code by which it is refused when it is read and then verified
 * for a mailbox, at the time `NOW` and with no drift of clocks.
 */
import { CONSTRUCTED, context, contextConstructed, Tag } from '../../src/awala/asn1/tags.ts';
import {
  constructed,
  integer,
  octetString,
  oid,
  primitive,
  sequence,
  visibleString,
} from '../../src/awala/asn1/writer.ts';
import { Oid } from '../../src/awala/oids.ts';
import type { Corpus } from './corpus-certificates.ts';
import {
  attribute,
  BOOLEAN,
  basicConstraints,
  commonName,
  contentTypeAttribute,
  handmadeRamfContent,
  indefinite,
  issuerAndSerialNumber,
  messageDigestAttribute,
  NULL,
  pss,
  recipientField,
  signWith,
} from './handmade.ts';
import { DAY, type HandmadeChain, HOUR, identifierOf, NOW, PARCEL_PREFIX } from './handmade-chain.ts';

export function malformedParcels(chain: HandmadeChain): Corpus {
  return { ...framing(chain), ...envelope(chain), ...fields(chain), ...signatures(chain), ...paths(chain) };
}

function framing(chain: HandmadeChain): Corpus {
  const valid = chain.parcel();
  const starting = (prefix: string) => Buffer.concat([Buffer.from(prefix, 'latin1'), valid.subarray(7)]);
  return {
    'RAMF_FORMAT_UNKNOWN.empty': Buffer.alloc(0),
    'RAMF_FORMAT_UNKNOWN.prefix-cut-short': valid.subarray(0, 6),
    'RAMF_FORMAT_UNKNOWN.relaynet-prefix': starting('Relaynet\x50\x00'),
    'RAMF_FORMAT_UNKNOWN.lower-case-prefix': starting('awala\x50\x00'),
    'RAMF_FORMAT_UNKNOWN.cargo': starting('Awala\x43\x00'),
    'RAMF_FORMAT_UNKNOWN.version-1': starting('Awala\x50\x01'),
    'SIGNED_DATA_MALFORMED.prefix-alone': PARCEL_PREFIX,
    'SIGNED_DATA_MALFORMED.cut-short': valid.subarray(0, -1),
    'SIGNED_DATA_MALFORMED.octet-appended': Buffer.concat([valid, Buffer.alloc(1)]),
    'ASN1_TOO_COMPLEX.nested-100-deep': Buffer.concat([PARCEL_PREFIX, Buffer.alloc(200, Buffer.from('3080', 'hex'))]),
    'ASN1_TOO_COMPLEX.70000-empty-segments': chain.parcel({
      signedData: { content: Buffer.alloc(70_000), segmentLength: 1 },
    }),
  };
}

function envelope(chain: HandmadeChain): Corpus {
  const { sender } = chain.keys;
  const content = handmadeRamfContent({ recipientId: chain.keys.endpoint.id, creation: NOW - HOUR });
  const withAttributes = (...attributes: Buffer[]) => chain.parcel({ signedData: { attributes } });
  return {
    'SIGNED_DATA_MALFORMED.not-signed-data': Buffer.concat([
      PARCEL_PREFIX,
      sequence(oid(Oid.DATA), constructed(contextConstructed(0), octetString(content))),
    ]),
    'SIGNED_DATA_MALFORMED.content-type-not-data': chain.parcel({ signedData: { contentType: oid(Oid.SIGNED_DATA) } }),
    'RAMF_MALFORMED.detached-content': chain.parcel({ signedData: { isDetached: true } }),
    'SIGNED_DATA_MALFORMED.no-signer': chain.parcel({ signedData: { signerInfos: () => [] } }),
    'SIGNED_DATA_MALFORMED.two-signers': chain.parcel({
      signedData: { signerInfos: (signerInfo) => [signerInfo, signerInfo] },
    }),
    'SIGNED_DATA_MALFORMED.no-certificates': chain.parcel({ certificates: () => [] }),
    'SIGNED_DATA_MALFORMED.without-signers-certificate': chain.parcel({
      certificates: ({ endpoint, privateGateway }) => [endpoint, privateGateway],
    }),
    'SIGNED_DATA_MALFORMED.33-certificates': chain.parcel({ certificates: ({ pda: first }) => Array(33).fill(first) }),
    'SIGNED_DATA_MALFORMED.signer-with-another-serial-number': chain.parcel({
      signedData: { identifier: issuerAndSerialNumber(commonName(chain.keys.endpoint.id), integer(1)) },
    }),
    'SIGNED_DATA_MALFORMED.signer-by-unknown-key-identifier': chain.parcel({
      signedData: { identifier: primitive(context(0), chain.keys.stranger.publicKey.digest) },
    }),
    'SIGNED_DATA_MALFORMED.no-signed-attributes': chain.parcel({
      signedData: { sentAttributes: Buffer.alloc(0), signature: signWith(sender, content) },
    }),
    'SIGNED_DATA_MALFORMED.signed-attributes-of-indefinite-length': chain.parcel({
      signedData: {
        sentAttributes: indefinite(contextConstructed(0), contentTypeAttribute(), messageDigestAttribute(content)),
      },
    }),
    'SIGNED_DATA_MALFORMED.no-content-type-attribute': withAttributes(messageDigestAttribute(content)),
    'SIGNED_DATA_MALFORMED.another-content-type-attribute': withAttributes(
      contentTypeAttribute(Oid.SIGNED_DATA),
      messageDigestAttribute(content),
    ),
    'SIGNED_DATA_MALFORMED.no-message-digest-attribute': withAttributes(contentTypeAttribute()),
    'SIGNED_DATA_MALFORMED.two-message-digest-attributes': withAttributes(
      contentTypeAttribute(),
      messageDigestAttribute(content),
      messageDigestAttribute(Buffer.from('another')),
    ),
    'SIGNED_DATA_MALFORMED.message-digest-with-two-values': withAttributes(
      contentTypeAttribute(),
      attribute(Oid.MESSAGE_DIGEST, octetString(Buffer.alloc(32)), octetString(Buffer.alloc(32))),
    ),
    'SIGNED_DATA_MALFORMED.too-many-attributes': chain.parcel({
      signedData: { moreAttributes: Array.from({ length: 20 }, (_, i) => attribute(`1.2.${i}`, NULL)) },
    }),
    'ALGORITHM_UNSUPPORTED.sha1-digest': chain.parcel({
      signedData: { digestAlgorithm: sequence(oid('1.3.14.3.2.26'), NULL) },
    }),
    'ALGORITHM_UNSUPPORTED.md5-digest': chain.parcel({
      signedData: { digestAlgorithm: sequence(oid('1.2.840.113549.2.5'), NULL) },
    }),
    'ALGORITHM_UNSUPPORTED.pkcs1-signature': chain.parcel({
      signedData: { signatureAlgorithm: sequence(oid(Oid.RSA_ENCRYPTION), NULL) },
    }),
    'ALGORITHM_UNSUPPORTED.pss-with-defaults': chain.parcel({
      signedData: { signatureAlgorithm: sequence(oid(Oid.RSASSA_PSS), sequence()) },
    }),
    'ALGORITHM_UNSUPPORTED.pss-with-short-salt': chain.parcel({
      signedData: { signatureAlgorithm: pss('sha256', { salt: 16 }) },
    }),
  };
}

function fields(chain: HandmadeChain): Corpus {
  const ramf = (changes: object) => chain.parcel({ ramf: changes });
  const { id } = chain.keys.endpoint;
  const date = (text: string) => ({ creationField: primitive(context(2), Buffer.from(text)) });
  return {
    'RAMF_MALFORMED.content-is-not-a-sequence': chain.parcel({ signedData: { content: octetString(Buffer.alloc(9)) } }),
    'RAMF_MALFORMED.content-empty': chain.parcel({ signedData: { content: Buffer.alloc(0) } }),
    'RAMF_MALFORMED.content-without-segments': chain.parcel({
      signedData: { content: Buffer.alloc(0), segmentLength: 9 },
    }),
    'RAMF_MALFORMED.segmented-content-cut-short': chain.parcel({
      signedData: {
        content: handmadeRamfContent({ recipientId: id, creation: NOW - HOUR }).subarray(0, -1),
        segmentLength: 50,
      },
    }),
    'RAMF_MALFORMED.field-appended': ramf({ more: [NULL] }),
    'RAMF_MALFORMED.recipient-missing': ramf({ recipient: Buffer.alloc(0) }),
    'RAMF_MALFORMED.recipient-is-a-string': ramf({ recipient: visibleString(id, context(0)) }),
    'RAMF_MALFORMED.recipient-empty': ramf({ recipient: recipientField('') }),
    'RAMF_MALFORMED.recipient-without-leading-zero': ramf({ recipient: recipientField(id.replace(/^0/, '1')) }),
    'RAMF_MALFORMED.recipient-in-upper-case': ramf({ recipient: recipientField(id.toUpperCase()) }),
    'RAMF_MALFORMED.recipient-too-long': ramf({ recipient: recipientField('0'.repeat(1025)) }),
    'RAMF_MALFORMED.recipient-with-line-end': ramf({ recipient: recipientField(`${id}\n`) }),
    'RAMF_MALFORMED.internet-address-empty': ramf({ recipient: recipientField(id, '') }),
    'RAMF_MALFORMED.internet-address-with-port': ramf({ recipient: recipientField(id, 'example.com:443') }),
    'RAMF_MALFORMED.internet-address-is-an-ip-address': ramf({ recipient: recipientField(id, '192.0.2.1') }),
    'RAMF_MALFORMED.internet-address-too-long': ramf({ recipient: recipientField(id, `${'a.'.repeat(512)}b`) }),
    'RAMF_MALFORMED.recipient-with-third-field': ramf({
      recipient: constructed(
        contextConstructed(0),
        visibleString(id, context(0)),
        visibleString('example.com', context(1)),
        visibleString('more', context(2)),
      ),
    }),
    'RAMF_MALFORMED.message-id-too-long': ramf({ messageId: visibleString('m'.repeat(65), context(1)) }),
    'RAMF_MALFORMED.message-id-not-ascii': ramf({ messageId: primitive(context(1), Buffer.from('é')) }),
    'RAMF_MALFORMED.message-id-missing': ramf({ messageId: Buffer.alloc(0) }),
    'RAMF_MALFORMED.date-with-z': ramf(date('20261120110000Z')),
    'RAMF_MALFORMED.date-of-12-digits': ramf(date('202611201100')),
    'RAMF_MALFORMED.date-that-does-not-exist': ramf(date('20261131000000')),
    'RAMF_MALFORMED.ttl-negative': ramf({ ttl: primitive(context(3), Buffer.from([0xff])) }),
    'RAMF_MALFORMED.ttl-empty': ramf({ ttl: primitive(context(3), Buffer.alloc(0)) }),
    'RAMF_MALFORMED.payload-missing': ramf({ payload: Buffer.alloc(0) }),
    'RAMF_MALFORMED.payload-of-integers': ramf({ payload: constructed(context(4) | CONSTRUCTED, integer(1)) }),
    'MESSAGE_TTL_TOO_LONG.ttl-180-days-and-a-second': ramf({ ttl: integer(15_552_001, context(3)) }),
    'RAMF_MALFORMED.ttl-of-9-octets': ramf({ ttl: primitive(context(3), Buffer.alloc(9, 1)) }),
    'MESSAGE_FROM_FUTURE.created-in-a-second': ramf({ creation: NOW + 1000 }),
    'MESSAGE_EXPIRED.expired-a-second-ago': ramf({ creation: NOW - 2000, ttl: integer(1, context(3)) }),
    'CERTIFICATE_NOT_YET_VALID.created-before-senders-certificate': ramf({
      creation: NOW - 31 * DAY,
      ttl: integer(40 * 86_400, context(3)),
    }),
  };
}

function signatures(chain: HandmadeChain): Corpus {
  const { sender, stranger } = chain.keys;
  const content = handmadeRamfContent({ recipientId: chain.keys.endpoint.id, creation: NOW - HOUR });
  const attributes = [contentTypeAttribute(), messageDigestAttribute(content)].toSorted(Buffer.compare);
  const signed = constructed(Tag.SET, ...attributes);
  const damaged = chain.parcel();
  damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1;
  const signature = (octets: Buffer) => chain.parcel({ signedData: { signature: octets } });
  return {
    'SIGNATURE_INVALID.by-another-key': chain.parcel({ signedData: { signer: stranger } }),
    'SIGNATURE_INVALID.last-bit-flipped': damaged,
    'SIGNATURE_INVALID.empty': signature(Buffer.alloc(0)),
    'SIGNATURE_INVALID.zeros': signature(Buffer.alloc(256)),
    'SIGNATURE_INVALID.one-octet-short': signature(signWith(sender, signed).subarray(1)),
    'SIGNATURE_INVALID.over-attributes-as-they-are-sent': signature(
      signWith(sender, constructed(contextConstructed(0), ...attributes)),
    ),
    'SIGNATURE_INVALID.over-the-content-itself': signature(signWith(sender, content)),
    'SIGNATURE_INVALID.another-salt-length': signature(signWith(sender, signed, 'sha256', 20)),
    'SIGNATURE_INVALID.another-hash': signature(signWith(sender, signed, 'sha512')),
    'SIGNATURE_INVALID.digest-of-another-content': chain.parcel({
      signedData: { attributes: [contentTypeAttribute(), messageDigestAttribute(Buffer.from('another'))] },
    }),
    'SIGNATURE_INVALID.digest-cut-short': chain.parcel({
      signedData: {
        attributes: [contentTypeAttribute(), attribute(Oid.MESSAGE_DIGEST, octetString(Buffer.alloc(31)))],
      },
    }),
  };
}

function paths(chain: HandmadeChain): Corpus {
  const { stranger, endpoint } = chain.keys;
  const past = { notBefore: NOW - 30 * DAY, notAfter: NOW - 1000 };
  const future = { notBefore: NOW + 1000, notAfter: NOW + DAY };
  const selfIssued = chain.certificate('sender', 'sender');
  const byGateway = chain.certificate('sender', 'privateGateway');
  const signedUnder = (certificate: Buffer, rest: readonly Buffer[]) =>
    chain.parcel({ signedData: { certificates: [certificate, ...rest], identifier: identifierOf(certificate) } });
  const { privateGateway } = chain.certificates;
  return {
    'CERTIFICATE_EXPIRED.senders': chain.parcel({ pda: past }),
    'CERTIFICATE_NOT_YET_VALID.senders': chain.parcel({ pda: future }),
    'CERTIFICATE_UNTRUSTED.endpoints-expired': chain.parcel({ endpoint: past }),
    'CERTIFICATE_UNTRUSTED.private-gateways-not-yet-valid': chain.parcel({ privateGateway: future }),
    'CERTIFICATE_UNTRUSTED.endpoint-is-no-authority': chain.parcel({
      endpoint: { constraints: basicConstraints(BOOLEAN.false, integer(0)) },
    }),
    'CERTIFICATE_UNTRUSTED.private-gateway-is-no-authority': chain.parcel({
      privateGateway: { constraints: basicConstraints() },
    }),
    'CERTIFICATE_UNTRUSTED.private-gateway-with-path-length-0': chain.parcel({
      privateGateway: { constraints: basicConstraints(BOOLEAN.true, integer(0)) },
    }),
    'CERTIFICATE_UNTRUSTED.endpoint-missing': chain.parcel({ certificates: (made) => [made.pda, made.privateGateway] }),
    'CERTIFICATE_UNTRUSTED.private-gateway-missing': chain.parcel({
      certificates: (made) => [made.pda, made.endpoint],
    }),
    'CERTIFICATE_UNTRUSTED.private-gateway-of-another-gateway': chain.parcel({
      certificates: (made) => [made.pda, made.endpoint, chain.certificate('privateGateway', 'stranger')],
    }),
    'CERTIFICATE_UNTRUSTED.private-gateway-self-issued': chain.parcel({
      certificates: (made) => [made.pda, made.endpoint, chain.certificate('privateGateway', 'privateGateway')],
    }),
    'CERTIFICATE_SIGNATURE_INVALID.senders': chain.parcel({ pda: { signature: Buffer.alloc(256, 1) } }),
    'CERTIFICATE_SIGNATURE_INVALID.endpoints': chain.parcel({ endpoint: { signature: Buffer.alloc(256, 1) } }),
    'CERTIFICATE_SIGNATURE_INVALID.private-gateways': chain.parcel({
      privateGateway: { signature: Buffer.alloc(256, 1) },
    }),
    'CERTIFICATE_SIGNATURE_INVALID.senders-by-a-stranger': chain.parcel({
      pda: { signature: signWith(stranger, Buffer.from('forged')) },
    }),
    'CERTIFICATE_MALFORMED.senders-of-version-1': chain.parcel({ pda: { version: Buffer.alloc(0) } }),
    'PARCEL_UNAUTHORIZED.self-issued-sender': signedUnder(selfIssued, []),
    'PARCEL_UNAUTHORIZED.sender-issued-by-the-private-gateway': signedUnder(byGateway, [privateGateway]),
    'PARCEL_UNAUTHORIZED.for-another-endpoint': chain.parcel({ ramf: { recipientId: stranger.id } }),
    'PARCEL_UNAUTHORIZED.for-the-private-gateway': chain.parcel({
      ramf: { recipientId: chain.keys.privateGateway.id },
      signedData: { certificates: [byGateway, privateGateway], identifier: identifierOf(byGateway) },
    }),
    'PARCEL_UNAUTHORIZED.endpoint-issued-by-us': chain.parcel({
      certificates: (made) => [made.pda, chain.certificate('endpoint', 'gateway')],
    }),
    'PARCEL_UNAUTHORIZED.endpoint-sends-to-itself': signedUnder(
      chain.certificate('endpoint', 'privateGateway', { subject: endpoint }),
      [privateGateway],
    ),
  };
}
