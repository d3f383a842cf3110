/**
 * Takes the records of the reference implementation of an Internet gateway over into ours, so that the private gateways
 * that registered there go on here without registering again.
 *
 * Each write is made only where there is nothing yet, identity keys first: whoever is killed in the middle runs it again.
 */
import { createPrivateKey } from 'node:crypto';
import { readCertificateRotation } from '../awala/cargo/certificate-rotation.ts';
import { ControlType, messagePrefix } from '../awala/message-prefix.ts';
import { readRsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import { readSessionPublicKey } from '../awala/session-key.ts';
import type { CcaClaims } from '../gateway/cargo/cca-claims.ts';
import type { CollectedParcels } from '../gateway/cargo/collected-parcels.ts';
import { GatewayError } from '../gateway/errors.ts';
import type { IdentityKeyList } from '../gateway/identity-keys.ts';
import type { PeerSessionKeys } from '../gateway/peer-session-keys.ts';
import { type Clock, type IdentityKey, type IdentityKeys, type Records, StoreError } from '../gateway/ports.ts';
import type { SessionKeys } from '../gateway/session-keys.ts';
import { DAY } from '../gateway/time.ts';
import type { MongoDocument } from './mongo-documents.ts';
import { type ExportPlace, type MigrationCounts, MigrationFault, type MigrationKind } from './report.ts';

/** How long the certificates last that the reference implementation gave to private gateways. */
const CERTIFICATE_LIFETIME = 180 * DAY;

/** How long a session key may be needed that went out with a registration or in a message, in milliseconds. */
const SESSION_KEY_LIFETIME = 210 * DAY;

/** How long a key that was given to everybody still decrypts: it had no end there. */
const UNBOUND_KEY_LIFETIME = 60 * DAY;

/** Identity keys and own certificates in an export: more are a mistake. */
const MAX_OWN = 1000;

/** Certification paths are written as in certificate rotations, without their prefix. */
const PATH_PREFIX = messagePrefix(ControlType.CERTIFICATE_ROTATION);

const CURRENT_ID = 'current_id';

type Document<Kind extends MongoDocument['kind']> = Extract<MongoDocument, { kind: Kind }>;

interface Placed<Kind extends MongoDocument['kind']> {
  readonly document: Document<Kind>;
  readonly place: ExportPlace;
}

interface OpenedKey extends Placed<'identity-key'> {
  readonly key: IdentityKey;
}

export interface MongoMigrationParts {
  readonly records: Records;
  readonly identityKeys: IdentityKeys;
  readonly identityKeyList: IdentityKeyList;
  readonly sessionKeys: SessionKeys;
  readonly peerSessionKeys: PeerSessionKeys;
  readonly ccaClaims: CcaClaims;
  readonly collectedParcels: CollectedParcels;
  readonly clock: Clock;
  readonly counts: MigrationCounts;
  /** Nothing is written. */
  readonly isDryRun: boolean;
  /** Names an identity key for its keeper; undefined where it is kept elsewhere than the old gateway's. */
  readonly identityKeyReference: ((kmsKey: string, version: number) => string) | undefined;
  /** Decrypts a session key of the old gateway. @throws Error when it is not decrypted; StoreError */
  readonly decryptSessionKey: ((ciphertext: Buffer, context: string) => Promise<Buffer>) | undefined;
}

/** First `collect` all documents, then `takeIdentity`, then `take` all documents. */
export class MongoMigration {
  private readonly parts: MongoMigrationParts;
  private readonly keys: Placed<'identity-key'>[] = [];
  private readonly certificates: Placed<'certificate'>[] = [];
  private currentId: string | undefined;
  /** Node ids of the identity keys that were taken over. */
  private readonly own = new Set<string>();
  private readonly knownPeers = new Set<string>();

  constructor(parts: MongoMigrationParts) {
    this.parts = parts;
  }

  /** Remembers what the identity is made of. @throws Error when there is too much of it */
  collect(document: MongoDocument, place: ExportPlace): void {
    if (document.kind === 'identity-key') {
      this.keys.push({ document, place });
    } else if (document.kind === 'certificate') {
      this.certificates.push({ document, place });
    } else if (document.kind === 'configuration' && document.key === CURRENT_ID) {
      this.currentId = document.value;
    }
    if (this.keys.length > MAX_OWN || this.certificates.length > MAX_OWN) {
      throw new Error(`The export has more than ${MAX_OWN} identity keys or certificates: is it of one gateway?`);
    }
  }

  /**
   * Takes the identity keys over, the current one last, and the certificates.
   *
   * @throws Error when the stores have another identity; StoreError
   */
  async takeIdentity(): Promise<void> {
    const keys = await this.openKeys();
    const current = this.currentId ?? (keys.length === 1 ? keys[0]?.document.nodeId : undefined);
    const isCurrent = ({ document }: OpenedKey) => document.nodeId === current;
    if (!keys.some(isCurrent)) {
      for (const { place } of keys) {
        const which = this.currentId ? `the current identity key, ${this.currentId}, was not taken` : 'none is current';
        this.parts.counts.skip(new MigrationFault('CURRENT_KEY_UNKNOWN', `Of several keys ${which}`), place);
      }
    } else {
      const made = ({ document }: OpenedKey) => document.created ?? 0;
      const others = keys.filter((key) => !isCurrent(key)).sort((one, other) => made(one) - made(other));
      await this.writeKeys([...others, ...keys.filter(isCurrent)]);
      this.parts.counts.nodeId = current;
    }
    for (const { document, place } of this.certificates) {
      await this.guarded(place, () => this.takeCertificate(document));
    }
  }

  /** Takes one document over; those of the identity were taken before. @throws StoreError */
  async take(document: MongoDocument, place: ExportPlace): Promise<void> {
    await this.guarded(place, async () => {
      switch (document.kind) {
        case 'session-key':
          return this.takeSessionKey(document);
        case 'peer-session-key':
          return this.takePeerSessionKey(document);
        case 'peer-identity-key':
          return this.takePeer(document.peerId, document.created, document.publicKey);
        case 'spent-authorization':
          return this.takeSpentAuthorization(document);
        case 'collected-parcel':
          return this.takeCollectedParcel(document);
        default:
          return undefined;
      }
    });
  }

  private async guarded(place: ExportPlace, take: () => Promise<void>): Promise<void> {
    try {
      await take();
    } catch (error) {
      if (!(error instanceof MigrationFault)) {
        throw error;
      }
      this.parts.counts.skip(error, place);
    }
  }

  /** One of each node id, opened. */
  private async openKeys(): Promise<OpenedKey[]> {
    const opened = new Map<string, OpenedKey>();
    for (const { document, place } of this.keys) {
      await this.guarded(place, async () => {
        const key = await this.openKey(document);
        opened.set(document.nodeId, { document, place, key });
      });
    }
    return [...opened.values()];
  }

  private async openKey({ nodeId, kmsKey, kmsKeyVersion }: Document<'identity-key'>): Promise<IdentityKey> {
    const { identityKeyReference, identityKeys } = this.parts;
    if (!identityKeyReference) {
      throw new MigrationFault('KEY_ELSEWHERE', 'The identity key is in Cloud KMS: set KEYS=gcp-kms and KMS_KEY_RING');
    }
    let key: IdentityKey;
    try {
      key = await identityKeys.open(identityKeyReference(kmsKey, kmsKeyVersion));
    } catch (error) {
      throw passingOr(error, 'KEY_UNUSABLE', 'Identity key cannot be opened');
    }
    if (readRsaPublicKey(key.spki).nodeId !== nodeId) {
      throw new MigrationFault('KEY_UNUSABLE', `${key.reference} is not the key of ${nodeId}`);
    }
    return key;
  }

  private async writeKeys(keys: readonly OpenedKey[]): Promise<void> {
    const { identityKeyList, counts, isDryRun, clock } = this.parts;
    const present = await identityKeyList.references();
    if (present.some((reference, index) => reference !== keys[index]?.key.reference)) {
      throw new Error('These stores have an identity of their own already: migrate into empty ones');
    }
    for (const [index, { document, key }] of keys.entries()) {
      const isNew = index >= present.length;
      if (isNew && !isDryRun) {
        await identityKeyList.adopt(index + 1, key, document.created ?? clock.now());
      }
      counts.count('identity keys', isNew);
      this.own.add(document.nodeId);
    }
  }

  private async takeCertificate({ subjectId, issuerId, path }: Document<'certificate'>): Promise<void> {
    const { leaf } = read('Certificate', () => readCertificateRotation(Buffer.concat([PATH_PREFIX, path])));
    if (leaf.subjectId !== subjectId || leaf.issuerId !== issuerId || !leaf.isSelfIssued) {
      throw new MigrationFault('DOCUMENT_MALFORMED', 'Certificate is not what its document says');
    }
    if (!this.own.has(leaf.subjectId)) {
      throw new MigrationFault('KEY_UNKNOWN', `Certificate is of ${leaf.subjectId}, whose key was not taken over`);
    }
    if (!leaf.isSignedBy(leaf.publicKey)) {
      throw new MigrationFault('DOCUMENT_MALFORMED', 'Signature of the certificate is not valid');
    }
    this.requireUnexpired(leaf.notAfter, 'Certificate');
    const name = `${leaf.subjectId}/${leaf.serialNumber}`;
    const fields = { certificate: leaf.raw };
    await this.create('own certificates', 'own-certificates', name, fields, leaf.notAfter);
  }

  private async takeSessionKey(document: Document<'session-key'>): Promise<void> {
    const { sessionKeys, counts, clock, isDryRun } = this.parts;
    const { nodeId, peerId, keyId, created } = document;
    if (!this.own.has(nodeId)) {
      throw new MigrationFault('KEY_UNKNOWN', `Session key is of ${nodeId}, whose key was not taken over`);
    }
    const expiry = peerId === undefined ? clock.now() + UNBOUND_KEY_LIFETIME : created + SESSION_KEY_LIFETIME;
    this.requireUnexpired(expiry, 'Session key');
    const isNew = !(await sessionKeys.has(keyId, peerId));
    if (isNew) {
      const privateKey = await this.decrypt(document);
      if (!isDryRun) {
        await sessionKeys.adopt(peerId, { keyId, privateKey }, { created, expiry });
      }
      privateKey.fill(0);
    }
    counts.count('session keys', isNew);
    if (peerId !== undefined) {
      await this.takePeer(peerId, created);
    }
  }

  /** The context is as the reference implementation binds it: our node id, and the peer's where there is one. */
  private async decrypt({ nodeId, peerId, ciphertext }: Document<'session-key'>): Promise<Buffer> {
    const { decryptSessionKey } = this.parts;
    if (!decryptSessionKey) {
      throw new MigrationFault('KEY_ELSEWHERE', 'The session key is encrypted by Cloud KMS: set KEYS=gcp-kms');
    }
    let privateKey: Buffer;
    try {
      privateKey = await decryptSessionKey(ciphertext, peerId === undefined ? nodeId : `${nodeId},${peerId}`);
    } catch (error) {
      throw passingOr(error, 'SESSION_KEY_UNREADABLE', 'Session key cannot be decrypted');
    }
    const { asymmetricKeyDetails } = read('Session key', () =>
      createPrivateKey({ key: privateKey, format: 'der', type: 'pkcs8' }),
    );
    if (asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
      throw new MigrationFault('DOCUMENT_MALFORMED', 'Session key is not on P-256');
    }
    return privateKey;
  }

  private async takePeerSessionKey({ peerId, keyId, publicKey, created }: Document<'peer-session-key'>): Promise<void> {
    const { peerSessionKeys, counts, isDryRun } = this.parts;
    read('Session key', () => readSessionPublicKey(publicKey));
    // A newer one that came meanwhile stays.
    const isNew = (await peerSessionKeys.newest(peerId)) === undefined;
    if (isNew && !isDryRun) {
      await peerSessionKeys.offer(peerId, { keyId, publicKey }, created);
    }
    counts.count("peers' session keys", isNew);
  }

  /** What makes a private gateway known, so that it may renew its registration under any policy. */
  private async takePeer(peer: string, made: number | undefined, publicKey?: Buffer): Promise<void> {
    if (publicKey && read('Identity key', () => readRsaPublicKey(publicKey)).nodeId !== peer) {
      throw new MigrationFault('DOCUMENT_MALFORMED', `Identity key is not that of ${peer}`);
    }
    if (this.knownPeers.has(peer)) {
      return;
    }
    this.knownPeers.add(peer);
    const { clock } = this.parts;
    const registered = made ?? clock.now();
    const fields = { registered, ...(publicKey && { publicKey }) };
    const expiry = clock.now() + CERTIFICATE_LIFETIME;
    await this.create('private gateways', 'private-gateways', peer, fields, expiry);
  }

  private async takeSpentAuthorization(document: Document<'spent-authorization'>): Promise<void> {
    const { ccaClaims, counts, isDryRun } = this.parts;
    const { peerId, ccaId, expiry } = document;
    this.requireUnexpired(expiry, 'Authorization');
    const isNew = !(await ccaClaims.isSpent({ sender: peerId, messageId: ccaId }));
    if (isNew && !isDryRun) {
      await spend(ccaClaims, document);
    }
    counts.count('spent authorizations', isNew);
  }

  private async takeCollectedParcel(document: Document<'collected-parcel'>): Promise<void> {
    const { collectedParcels, counts, isDryRun } = this.parts;
    const { peerId, sender, recipient, parcelId: messageId, expiry } = document;
    this.requireUnexpired(expiry, 'Acknowledgement');
    const isNew = !(await collectedParcels.isOwed(peerId, { sender, recipient, messageId }));
    if (isNew && !isDryRun) {
      // Which octets they were is not known: the same parcel, brought again, counts as another version.
      const content = Buffer.alloc(0);
      await collectedParcels.add(peerId, { sender, recipient, messageId, content, expiry });
    }
    counts.count('collected parcels', isNew);
  }

  private async create(
    kind: MigrationKind,
    recordKind: 'own-certificates' | 'private-gateways',
    name: string,
    fields: Parameters<Records['create']>[2],
    expiry: number,
  ): Promise<void> {
    const { records, isDryRun } = this.parts;
    const isNew = isDryRun
      ? (await records.get(recordKind, name)) === undefined
      : await records.create(recordKind, name, fields, expiry);
    this.parts.counts.count(kind, isNew);
  }

  private requireUnexpired(expiry: number, what: string): void {
    if (expiry <= this.parts.clock.now()) {
      throw new MigrationFault('EXPIRED', `${what} is past its time`);
    }
  }
}

async function spend(claims: CcaClaims, { peerId, ccaId, expiry }: Document<'spent-authorization'>): Promise<void> {
  const claim = await claims.claim({ sender: peerId, messageId: ccaId, expiry }).catch((error: unknown) => {
    if (error instanceof GatewayError && error.code === 'CCA_SPENT') {
      return undefined;
    }
    throw error;
  });
  await claim?.spend();
  claim?.release();
}

/** @throws MigrationFault DOCUMENT_MALFORMED in place of whatever the reader throws */
function read<Value>(what: string, reader: () => Value): Value {
  try {
    return reader();
  } catch (error) {
    throw new MigrationFault('DOCUMENT_MALFORMED', `${what} cannot be read: ${(error as Error).message}`);
  }
}

/** A store that is away ends the run, which is then run again; all else concerns this one alone. */
function passingOr(error: unknown, code: 'KEY_UNUSABLE' | 'SESSION_KEY_UNREADABLE', what: string): Error {
  return error instanceof StoreError ? error : new MigrationFault(code, `${what}: ${(error as Error).message}`);
}
