/**
 * Certificates of the corpus: each with one fault, and the code by which it is refused.
 */
import { contextConstructed, Tag } from '../../src/awala/asn1/tags.ts';
import { constructed, integer, oid, primitive, sequence } from '../../src/awala/asn1/writer.ts';
import { Oid } from '../../src/awala/oids.ts';
import {
  authorityKeyId,
  BOOLEAN,
  basicConstraints,
  commonName,
  extension,
  NULL,
  pss,
  subjectKeyId,
} from './handmade.ts';
import { type HandmadeChain, NOW } from './handmade-chain.ts';

/** What the corpus holds: bytes under the name `CODE.fault`. */
export type Corpus = Readonly<Record<string, Buffer>>;

const RSA_1024_MODULUS = Buffer.alloc(128, 0xc5);

export function malformedCertificates(chain: HandmadeChain): Corpus {
  const { sender, endpoint } = chain.keys;
  const valid = chain.pda();
  const ski = subjectKeyId(sender.publicKey.digest);
  const aki = authorityKeyId(endpoint.publicKey.digest);
  const constraints = basicConstraints(integer(0));
  const rateLimit = (...fields: Buffer[]) => ({ more: [extension(Oid.PDA_RATE_LIMIT, sequence(...fields))] });
  const pssOf = (...fields: Buffer[]) => sequence(oid(Oid.RSASSA_PSS), sequence(...fields));
  return {
    'CERTIFICATE_MALFORMED.empty': Buffer.alloc(0),
    'CERTIFICATE_MALFORMED.cut-short': valid.subarray(0, -1),
    'CERTIFICATE_MALFORMED.octet-appended': Buffer.concat([valid, Buffer.alloc(1)]),
    'CERTIFICATE_MALFORMED.too-long': chain.pda({ more: [extension('1.2.3', Buffer.alloc(17_000))] }),
    'CERTIFICATE_MALFORMED.version-1': chain.pda({ version: Buffer.alloc(0) }),
    'CERTIFICATE_MALFORMED.version-2': chain.pda({ version: constructed(contextConstructed(0), integer(1)) }),
    'CERTIFICATE_MALFORMED.serial-number-empty': chain.pda({ serialNumber: primitive(Tag.INTEGER, Buffer.alloc(0)) }),
    'CERTIFICATE_MALFORMED.serial-number-too-long': chain.pda({
      serialNumber: primitive(Tag.INTEGER, Buffer.alloc(33, 1)),
    }),
    'CERTIFICATE_MALFORMED.two-signature-algorithms': chain.pda({ innerAlgorithm: pss('sha512') }),
    'CERTIFICATE_MALFORMED.ends-before-it-starts': chain.pda({ notBefore: NOW, notAfter: NOW - 1000 }),
    'CERTIFICATE_MALFORMED.date-that-does-not-exist': chain.pda({
      validity: sequence(
        ...['260230000000Z', '261231000000Z'].map((date) => primitive(Tag.UTC_TIME, Buffer.from(date))),
      ),
    }),
    'CERTIFICATE_MALFORMED.date-without-seconds': chain.pda({
      validity: sequence(...['2602010000Z', '2612310000Z'].map((date) => primitive(Tag.UTC_TIME, Buffer.from(date)))),
    }),
    'CERTIFICATE_MALFORMED.subject-of-another-key': chain.pda({ subjectName: commonName(endpoint.id) }),
    'CERTIFICATE_MALFORMED.subject-in-upper-case': chain.pda({ subjectName: commonName(sender.id.toUpperCase()) }),
    'CERTIFICATE_MALFORMED.subject-empty': chain.pda({ subjectName: sequence() }),
    'CERTIFICATE_MALFORMED.subject-twice': chain.pda({
      subjectName: sequence(...Array(2).fill(commonName(sender.id).subarray(2))),
    }),
    'CERTIFICATE_MALFORMED.subject-is-an-organization': chain.pda({
      subjectName: sequence(
        constructed(Tag.SET, sequence(oid('2.5.4.10'), primitive(Tag.UTF8_STRING, Buffer.from(sender.id)))),
      ),
    }),
    'CERTIFICATE_MALFORMED.subject-is-no-directory-string': chain.pda({ subjectName: commonName(sender.id, 0x16) }),
    'CERTIFICATE_MALFORMED.subject-with-high-characters': chain.pda({
      subjectName: sequence(
        constructed(
          Tag.SET,
          sequence(
            oid(Oid.COMMON_NAME),
            primitive(Tag.BMP_STRING, Buffer.from([...sender.id].flatMap((character) => [1, character.charCodeAt(0)]))),
          ),
        ),
      ),
    }),
    'CERTIFICATE_MALFORMED.issuer-not-that-of-key-identifier': chain.pda({ issuerName: commonName(sender.id) }),
    'CERTIFICATE_MALFORMED.no-extensions': chain.pda({ extensions: [] }),
    'CERTIFICATE_MALFORMED.no-basic-constraints': chain.pda({ extensions: [aki, ski] }),
    'CERTIFICATE_MALFORMED.basic-constraints-not-critical': chain.pda({
      constraints: extension(Oid.BASIC_CONSTRAINTS, sequence(integer(0))),
    }),
    'CERTIFICATE_MALFORMED.basic-constraints-repeated': chain.pda({ more: [constraints] }),
    'CERTIFICATE_MALFORMED.basic-constraints-negative-path-length': chain.pda({
      constraints: basicConstraints(primitive(Tag.INTEGER, Buffer.from([0xff]))),
    }),
    'CERTIFICATE_MALFORMED.basic-constraints-with-something-more': chain.pda({
      constraints: basicConstraints(BOOLEAN.false, integer(0), NULL),
    }),
    'CERTIFICATE_MALFORMED.no-subject-key-identifier': chain.pda({ extensions: [constraints, aki] }),
    'CERTIFICATE_MALFORMED.subject-key-identifier-of-another-key': chain.pda({
      extensions: [constraints, aki, subjectKeyId(endpoint.publicKey.digest)],
    }),
    'CERTIFICATE_MALFORMED.no-authority-key-identifier': chain.pda({ extensions: [constraints, ski] }),
    'CERTIFICATE_MALFORMED.authority-key-identifier-of-another-key': chain.pda({
      extensions: [constraints, authorityKeyId(sender.publicKey.digest), ski],
    }),
    'CERTIFICATE_MALFORMED.unknown-critical-extension': chain.pda({ more: [extension('1.2.3', NULL, true)] }),
    'CERTIFICATE_MALFORMED.too-many-extensions': chain.pda({
      more: Array.from({ length: 20 }, (_, i) => extension(`1.2.${i}`, NULL)),
    }),
    'CERTIFICATE_MALFORMED.rate-limit-without-period': chain.pda(rateLimit(integer(1))),
    'CERTIFICATE_MALFORMED.rate-limit-period-zero': chain.pda(rateLimit(integer(1), integer(0))),
    'CERTIFICATE_MALFORMED.rate-limit-negative': chain.pda(
      rateLimit(primitive(Tag.INTEGER, Buffer.from([0x80])), integer(60)),
    ),
    'CERTIFICATE_MALFORMED.signature-with-unused-bits': certificateWithUnusedBits(valid),
    'KEY_UNSUPPORTED.rsa-1024': chain.pda({ spki: spkiOf(RSA_1024_MODULUS) }),
    'KEY_UNSUPPORTED.rsa-2056': chain.pda({ spki: spkiOf(Buffer.alloc(257, 0xc5)) }),
    'KEY_UNSUPPORTED.rsa-2047': chain.pda({ spki: spkiOf(Buffer.alloc(256, 0x45)) }),
    'KEY_UNSUPPORTED.even-modulus': chain.pda({ spki: spkiOf(Buffer.alloc(256, 0xc4)) }),
    'KEY_UNSUPPORTED.exponent-1': chain.pda({ spki: spkiOf(Buffer.alloc(256, 0xc5), Buffer.from([1])) }),
    'KEY_UNSUPPORTED.exponent-even': chain.pda({ spki: spkiOf(Buffer.alloc(256, 0xc5), Buffer.from([1, 0, 0])) }),
    'KEY_UNSUPPORTED.exponent-too-long': chain.pda({ spki: spkiOf(Buffer.alloc(256, 0xc5), Buffer.alloc(200, 0x55)) }),
    'KEY_UNSUPPORTED.marked-as-rsa-pss': chain.pda({
      spki: spkiOf(Buffer.alloc(256, 0xc5), undefined, sequence(oid(Oid.RSASSA_PSS))),
    }),
    'KEY_UNSUPPORTED.padded-modulus': chain.pda({
      spki: spkiOf(Buffer.concat([Buffer.alloc(1), Buffer.alloc(256, 0xc5)])),
    }),
    'KEY_UNSUPPORTED.elliptic-curve': chain.pda({
      spki: sequence(
        sequence(oid('1.2.840.10045.2.1'), oid('1.2.840.10045.3.1.7')),
        primitive(Tag.BIT_STRING, Buffer.concat([Buffer.from([0, 4]), Buffer.alloc(64, 7)])),
      ),
    }),
    'ALGORITHM_UNSUPPORTED.pkcs1-sha256': chain.pda({ algorithm: sequence(oid('1.2.840.113549.1.1.11'), NULL) }),
    'ALGORITHM_UNSUPPORTED.pkcs1-md5': chain.pda({ algorithm: sequence(oid('1.2.840.113549.1.1.4'), NULL) }),
    'ALGORITHM_UNSUPPORTED.pss-all-defaults': chain.pda({ algorithm: pssOf() }),
    'ALGORITHM_UNSUPPORTED.pss-sha1': chain.pda({
      algorithm: pssOf(
        constructed(contextConstructed(0), sequence(oid('1.3.14.3.2.26'), NULL)),
        constructed(contextConstructed(1), sequence(oid(Oid.MGF1), sequence(oid('1.3.14.3.2.26'), NULL))),
        constructed(contextConstructed(2), integer(20)),
      ),
    }),
    'ALGORITHM_UNSUPPORTED.pss-another-mask-hash': chain.pda({ algorithm: pss('sha256', { mask: 'sha512' }) }),
    'ALGORITHM_UNSUPPORTED.pss-short-salt': chain.pda({ algorithm: pss('sha256', { salt: 20 }) }),
    'ALGORITHM_UNSUPPORTED.pss-trailer-2': chain.pda({ algorithm: pss('sha256', { trailer: 2 }) }),
  };
}

/** SubjectPublicKeyInfo of numbers that need not be a key; `modulus` gets its leading zero here when it needs one. */
function spkiOf(
  modulus: Buffer,
  exponent = Buffer.from([1, 0, 1]),
  algorithm = sequence(oid(Oid.RSA_ENCRYPTION), NULL),
): Buffer {
  const unsigned = (octets: Buffer) =>
    primitive(
      Tag.INTEGER,
      (octets[0] as number) >= 0x80 || octets[0] === 0 ? Buffer.concat([Buffer.alloc(1), octets]) : octets,
    );
  const numbers = sequence(unsigned(modulus), unsigned(exponent));
  return sequence(algorithm, primitive(Tag.BIT_STRING, Buffer.concat([Buffer.alloc(1), numbers])));
}

/** The signature, 256 octets long, is a certificate's last element. */
function certificateWithUnusedBits(certificate: Buffer): Buffer {
  const changed = Buffer.from(certificate);
  changed[changed.length - 257] = 1;
  return changed;
}
