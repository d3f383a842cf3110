/**
 * The documents that the reference implementation of an Internet gateway keeps in MongoDB: each is known by its fields,
 * whatever the file is called that it comes in.
 *
 * Source: the models of relaycorp/awala-gateway-internet, awala-keystore-mongodb-js and awala-keystore-cloud-js.
 */
import { type ExtendedValue, readExtendedJson } from './extended-json.ts';
import { MigrationFault } from './report.ts';

export type MongoDocument =
  /** A value of the configuration, such as `current_id`. */
  | { readonly kind: 'configuration'; readonly key: string; readonly value: string }
  /** A certificate with its issuers. */
  | { readonly kind: 'certificate'; readonly subjectId: string; readonly issuerId: string; readonly path: Buffer }
  /** Where an identity key is in Cloud KMS. */
  | {
      readonly kind: 'identity-key';
      readonly nodeId: string;
      readonly kmsKey: string;
      readonly kmsKeyVersion: number;
      readonly created: number | undefined;
    }
  /** The private half of a session key, encrypted by Cloud KMS. */
  | {
      readonly kind: 'session-key';
      readonly nodeId: string;
      /** Undefined for anybody's. */
      readonly peerId: string | undefined;
      readonly keyId: Buffer;
      readonly ciphertext: Buffer;
      readonly created: number;
    }
  | {
      readonly kind: 'peer-session-key';
      readonly peerId: string;
      readonly keyId: Buffer;
      readonly publicKey: Buffer;
      readonly created: number;
    }
  | {
      readonly kind: 'peer-identity-key';
      readonly peerId: string;
      readonly publicKey: Buffer;
      readonly created: number | undefined;
    }
  /** A cargo collection authorization that was spent. */
  | { readonly kind: 'spent-authorization'; readonly peerId: string; readonly ccaId: string; readonly expiry: number }
  /** A parcel that came in cargo: its acknowledgement is owed. */
  | {
      readonly kind: 'collected-parcel';
      readonly peerId: string;
      readonly sender: string;
      readonly recipient: string;
      readonly parcelId: string;
      readonly expiry: number;
    };

/** Characters of the longest text in a field. */
const MAX_TEXT = 1024;

const NODE_ID = /^0[0-9a-f]{64}$/;
const HEX = /^(?:[0-9a-f]{2}){1,64}$/i;

/** @throws MigrationFault LINE_MALFORMED, DOCUMENT_UNKNOWN, DOCUMENT_MALFORMED */
export function readMongoDocument(line: string): MongoDocument {
  const fields = new Fields(readExtendedJson(line));
  if (fields.has('pathSerialized')) {
    const path = fields.binary('pathSerialized');
    return { kind: 'certificate', subjectId: fields.text('subjectId'), issuerId: fields.text('issuerId'), path };
  }
  if (fields.has('kmsKeyVersion')) {
    return {
      kind: 'identity-key',
      nodeId: fields.nodeId('nodeId'),
      kmsKey: fields.text('kmsKey'),
      kmsKeyVersion: fields.counter('kmsKeyVersion'),
      created: fields.made(),
    };
  }
  if (fields.has('privateKeyCiphertext')) {
    return {
      kind: 'session-key',
      nodeId: fields.nodeId('nodeId'),
      peerId: fields.has('peerId') ? fields.nodeId('peerId') : undefined,
      keyId: fields.hexadecimal('keyId'),
      ciphertext: fields.binary('privateKeyCiphertext'),
      created: fields.has('creationDate') ? fields.date('creationDate') : (fields.made() ?? 0),
    };
  }
  return readPeerDocument(fields);
}

function readPeerDocument(fields: Fields): MongoDocument {
  if (fields.has('keyDer') && fields.has('keyId')) {
    return {
      kind: 'peer-session-key',
      peerId: fields.nodeId('peerId'),
      keyId: fields.binary('keyId'),
      publicKey: fields.binary('keyDer'),
      created: fields.date('creationDate'),
    };
  }
  if (fields.has('keyDer')) {
    const publicKey = fields.binary('keyDer');
    return { kind: 'peer-identity-key', peerId: fields.nodeId('peerId'), publicKey, created: fields.made() };
  }
  if (fields.has('ccaId')) {
    const expiry = fields.date('ccaExpiryDate');
    return { kind: 'spent-authorization', peerId: fields.nodeId('peerId'), ccaId: fields.text('ccaId'), expiry };
  }
  if (fields.has('privatePeerId')) {
    return {
      kind: 'collected-parcel',
      peerId: fields.nodeId('privatePeerId'),
      sender: fields.text('senderEndpointId'),
      recipient: fields.text('recipientEndpointId'),
      parcelId: fields.text('parcelId'),
      expiry: fields.date('parcelExpiryDate'),
    };
  }
  if (fields.has('key') && fields.has('value')) {
    return { kind: 'configuration', key: fields.text('key'), value: fields.text('value') };
  }
  throw new MigrationFault('DOCUMENT_UNKNOWN', `Document with the fields ${fields.names()} is not known`);
}

/** The fields of a document, each read as what it must be. */
class Fields {
  private readonly values: ReadonlyMap<string, ExtendedValue>;

  constructor(values: ReadonlyMap<string, ExtendedValue>) {
    this.values = values;
  }

  has(name: string): boolean {
    return this.values.has(name) && this.values.get(name) !== null;
  }

  /** For people: the names, in bounds. */
  names(): string {
    return [...this.values.keys()].join(', ').slice(0, 100) || '(none)';
  }

  text(name: string): string {
    const value = this.values.get(name);
    return typeof value === 'string' && value.length <= MAX_TEXT ? value : malformed(name, 'a text');
  }

  nodeId(name: string): string {
    const value = this.text(name);
    return NODE_ID.test(value) ? value : malformed(name, 'a node id');
  }

  hexadecimal(name: string): Buffer {
    const value = this.text(name);
    return HEX.test(value) ? Buffer.from(value, 'hex') : malformed(name, 'hexadecimal');
  }

  binary(name: string): Buffer {
    const value = this.values.get(name);
    return Buffer.isBuffer(value) && value.length > 0 ? value : malformed(name, 'binary data');
  }

  /** Milliseconds since the epoch. */
  date(name: string): number {
    const value = this.values.get(name);
    return value instanceof Date ? value.getTime() : malformed(name, 'a date');
  }

  counter(name: string): number {
    const value = this.values.get(name);
    return Number.isSafeInteger(value) && (value as number) > 0
      ? (value as number)
      : malformed(name, 'a number from 1');
  }

  /** When the document was made, in milliseconds, as its id tells. */
  made(): number | undefined {
    const value = this.values.get('_id');
    return value && typeof value === 'object' && 'objectId' in value
      ? Number.parseInt(value.objectId.slice(0, 8), 16) * 1000
      : undefined;
  }
}

function malformed(name: string, wanted: string): never {
  throw new MigrationFault('DOCUMENT_MALFORMED', `Field ${name} is not ${wanted}`);
}
