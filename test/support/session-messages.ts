/**
 * The corpora of session messages that other implementations made, and the keys that decrypt them.
 */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readBer } from '../../src/awala/asn1/reader.ts';
import { contextConstructed, Tag } from '../../src/awala/asn1/tags.ts';
import { constructed, octetString, oid, sequence } from '../../src/awala/asn1/writer.ts';
import type { SessionAlgorithms } from '../../src/awala/cms/write-enveloped-data.ts';
import { Oid } from '../../src/awala/oids.ts';
import type { SessionKeyCurve, SessionKeyPair } from '../../src/awala/session-key.ts';

const CORPUS = new URL('../awala/corpus/sessions/', import.meta.url);

export const CURVES: readonly SessionKeyCurve[] = ['P-256', 'P-384', 'P-521'];

/** A message in a corpus, with what its maker chose. */
export interface CorpusMessage {
  readonly container: 'EnvelopedData' | 'AuthEnvelopedData';
  readonly curve: SessionKeyCurve;
  readonly keyDerivation: SessionAlgorithms['keyDerivation'];
  readonly keyWrap: SessionAlgorithms['keyWrap'];
  readonly cipher: SessionAlgorithms['content'];
  readonly ukmOctets: number;
  readonly plaintextOctets: number;
  /** Hexadecimal; absent where the maker could not put it in. */
  readonly originatorKeyId?: string;
  readonly message: Buffer;
}

/** The messages of a corpus, one JSON object a line. */
export function readCorpus(file: 'bouncy-castle.jsonl' | 'openssl.jsonl'): CorpusMessage[] {
  return readFileSync(new URL(file, CORPUS), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
    .map((entry) => ({ ...entry, message: Buffer.from(entry.message, 'base64') }));
}

/** The plaintext of a corpus's messages: octets 0, 1, 2 and so on, up to 250 and then from 0 again. */
export function corpusPlaintext(octets: number): Buffer {
  return Buffer.from(Array.from({ length: octets }, (_, at) => at % 251));
}

/** The key that the corpora's messages on this curve were encrypted for. */
export function corpusKey(curve: SessionKeyCurve): SessionKeyPair {
  const privateKey = createPrivateKey(readFileSync(new URL(`keys/${curve}.pem`, CORPUS)));
  return {
    keyId: Buffer.from(`key ${curve}`),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }),
    publicKey: createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
  };
}

/** Adds the unprotected attribute for the sender's key id to a message without any, as OpenSSL makes them. */
export function withOriginatorKeyId(message: Buffer, ...keyIds: Buffer[]): Buffer {
  const contentInfo = readBer(message, Tag.SEQUENCE).children();
  const type = contentInfo.next(Tag.OID);
  const fields = contentInfo.next(contextConstructed(0)).only(Tag.SEQUENCE).children();
  const content: Buffer[] = [];
  while (!fields.atEnd) {
    content.push(fields.next().raw);
  }
  const attribute = sequence(oid(Oid.ORIGINATOR_SESSION_KEY_ID), constructed(Tag.SET, ...keyIds.map(octetString)));
  const tag = contextConstructed(type.objectIdentifier() === Oid.ENVELOPED_DATA ? 1 : 2);
  return sequence(type.raw, constructed(contextConstructed(0), sequence(...content, constructed(tag, attribute))));
}
