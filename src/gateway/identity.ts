/**
 * Who this gateway is: its identity keys and its own certificates (RS-002).
 *
 * Several keys may exist: the newest issues, each older one keeps its id. Each key has one or more self-issued
 * certificates, valid at once: the one that expires last signs, all verify. Records hold them all and decide between
 * replicas that would make the same one; this object holds a picture of them in memory, so that a parcel costs no
 * look-up.
 */
import { type Certificate, readCertificate } from '../awala/pki/certificate.ts';
import { issueCertificate } from '../awala/pki/issue-certificate.ts';
import { type RsaPublicKey, readRsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import { GatewayError } from './errors.ts';
import { type Clock, type IdentityKey, type IdentityKeys, type Random, type Records, StoreError } from './ports.ts';
import { BACKDATING, DAY } from './time.ts';

/** How long a self-issued certificate is valid (protocol section 1). */
const VALIDITY = 180 * DAY;

/** A new certificate is made while this much of the last one's time remains. */
const RENEWAL_REMAINING = 150 * DAY;

/** RS-002: our certificate, those we issue to private gateways (1), and theirs to endpoints (0). */
const PATH_LENGTH = 2;

const SERIAL_NUMBER_OCTETS = 16;

/** One of our keys, with its public half read. */
export interface OwnKey {
  readonly signing: IdentityKey;
  readonly publicKey: RsaPublicKey;
}

/** What signs a certificate or message in this gateway's name. */
export interface Issuer {
  readonly key: IdentityKey;
  readonly certificate: Certificate;
}

export class Identity {
  readonly internetAddress: string;
  private readonly identityKeys: IdentityKeys;
  private readonly records: Records;
  private readonly random: Random;
  private readonly clock: Clock;
  /** Oldest first; the last one issues. */
  private keys: readonly OwnKey[] = [];
  private certificates: readonly Certificate[] = [];

  private constructor(parts: IdentityParts) {
    this.internetAddress = parts.internetAddress;
    this.identityKeys = parts.identityKeys;
    this.records = parts.records;
    this.random = parts.random;
    this.clock = parts.clock;
  }

  /**
   * Opens the identity in `records`, making its first key and certificate where there are none.
   *
   * @throws GatewayError IDENTITY_KEY_MISSING, StoreError
   */
  static async open(parts: IdentityParts): Promise<Identity> {
    const identity = new Identity(parts);
    try {
      await identity.refresh();
    } catch (error) {
      // A full store must not keep a gateway from serving whose certificate is still good: housekeeping tries again.
      if (!(error instanceof StoreError && error.code === 'STORE_FULL') || identity.trusted().length === 0) {
        throw error;
      }
    }
    return identity;
  }

  /** Node id of the key that issues. */
  get id(): string {
    return this.issuingKey().publicKey.nodeId;
  }

  issuingKey(): OwnKey {
    return this.keys.at(-1) as OwnKey;
  }

  /** The key of ours with this node id, be it an older one. */
  ownKey(nodeId: string): OwnKey | undefined {
    return this.keys.find(({ publicKey }) => publicKey.nodeId === nodeId);
  }

  /** The public halves of all our keys: what any of them signed is ours. */
  publicKeys(): RsaPublicKey[] {
    return this.keys.map((key) => key.publicKey);
  }

  /** Our own certificates that are valid now: what they issued is trusted. */
  trusted(): Certificate[] {
    const now = this.clock.now();
    return this.certificates.filter((certificate) => certificate.notBefore <= now && now <= certificate.notAfter);
  }

  /** All our own certificates, also of older keys. */
  allCertificates(): readonly Certificate[] {
    return this.certificates;
  }

  /** What signs now: the issuing key under its certificate that expires last. */
  issuer(): Issuer {
    const { signing, publicKey } = this.issuingKey();
    const certificate = lastToExpire(this.trusted().filter((own) => own.subjectId === publicKey.nodeId));
    if (!certificate) {
      throw new Error(`No certificate of ${publicKey.nodeId} is valid now: is the clock right?`);
    }
    return { key: signing, certificate };
  }

  /**
   * Makes a further key, which issues from now on. The earlier ones keep their ids and certificates, and are served
   * until those end.
   */
  async addKey(): Promise<void> {
    await this.refresh();
    const { reference } = await this.identityKeys.create();
    let number = this.keys.length + 1;
    while (!(await this.createKeyRecord(number, reference))) {
      number++;
    }
    await this.refresh();
  }

  /**
   * Reads the records again and makes what is due: the first key, or a certificate while the last has 150 days left.
   * Housekeeping calls this; running it anywhere and any number of times is harmless.
   *
   * @throws GatewayError IDENTITY_KEY_MISSING, when a key is gone that was used; StoreError
   */
  async refresh(): Promise<void> {
    await this.load();
    const { publicKey } = this.issuingKey();
    const last = lastToExpire(this.certificates.filter((own) => own.subjectId === publicKey.nodeId));
    if (!last || last.notAfter - this.clock.now() < RENEWAL_REMAINING) {
      await this.issueOwnCertificate();
      this.certificates = await this.loadCertificates();
    }
  }

  /** A key that was used and is gone must not be replaced in silence: every private gateway would be lost with it. */
  private async load(): Promise<void> {
    // What keys have signed is read before the keys: whoever made it had stored its key by then.
    const mayBeNew = this.keys.length === 0 && !(await this.hasPrivateGateways());
    const certificates = await this.loadCertificates();
    let keys = await this.loadKeys();
    if (keys.length === 0 && mayBeNew && certificates.length === 0) {
      keys = await this.makeFirstKey();
    }
    const isKnown = (nodeId: string) => keys.some((key) => key.publicKey.nodeId === nodeId);
    const orphan = certificates.find(({ subjectId }) => !isKnown(subjectId));
    if (orphan || keys.length === 0) {
      throw new GatewayError(
        'IDENTITY_KEY_MISSING',
        `The identity key ${orphan ? `of ${orphan.subjectId} ` : ''}is missing from the stores: restore them from a ` +
          'backup; or start on empty ones, where every private gateway must register again',
      );
    }
    this.keys = keys;
    this.certificates = certificates;
  }

  private async hasPrivateGateways(): Promise<boolean> {
    for await (const _ of this.records.list('private-gateways')) {
      return true;
    }
    return false;
  }

  private async loadKeys(): Promise<OwnKey[]> {
    const keys: OwnKey[] = [];
    for await (const { fields } of this.records.list('identity-keys')) {
      const reference = fields['reference'] as string;
      const known = this.keys.find((key) => key.signing.reference === reference);
      keys.push(known ?? ownKey(await this.identityKeys.open(reference)));
    }
    return keys;
  }

  private async makeFirstKey(): Promise<OwnKey[]> {
    const first = await this.identityKeys.create();
    // Only one replica's first key counts.
    await this.createKeyRecord(1, first.reference);
    return this.loadKeys();
  }

  /** Records list in key order, so keys are numbered upwards; false when there is one of this number. */
  private createKeyRecord(number: number, reference: string): Promise<boolean> {
    const name = String(number).padStart(4, '0');
    return this.records.create('identity-keys', name, { reference, created: this.clock.now() });
  }

  private async loadCertificates(): Promise<Certificate[]> {
    const certificates: Certificate[] = [];
    for await (const { fields } of this.records.list('own-certificates')) {
      const bytes = Buffer.from(fields['certificate'] as Uint8Array);
      certificates.push(this.certificates.find((known) => known.raw.equals(bytes)) ?? readCertificate(bytes));
    }
    return certificates;
  }

  private async issueOwnCertificate(): Promise<void> {
    const { signing, publicKey } = this.issuingKey();
    const now = this.clock.now();
    const notBefore = now - BACKDATING;
    const certificate = await issueCertificate({
      subjectPublicKey: publicKey,
      issuer: { selfSignedWith: signing },
      notBefore,
      notAfter: notBefore + VALIDITY,
      isCa: true,
      pathLength: PATH_LENGTH,
      serialNumber: this.random(SERIAL_NUMBER_OCTETS),
    });
    // One a day at most: the create-only record decides between replicas that renew at the same time.
    const day = new Date(now).toISOString().slice(0, 10);
    await this.records.create(
      'own-certificates',
      `${publicKey.nodeId}/${day}`,
      { certificate: certificate.raw },
      certificate.notAfter,
    );
  }
}

export interface IdentityParts {
  readonly internetAddress: string;
  readonly identityKeys: IdentityKeys;
  readonly records: Records;
  readonly random: Random;
  readonly clock: Clock;
}

function ownKey(signing: IdentityKey): OwnKey {
  return { signing, publicKey: readRsaPublicKey(signing.spki) };
}

function lastToExpire(certificates: readonly Certificate[]): Certificate | undefined {
  return certificates.reduce<Certificate | undefined>(
    (last, certificate) => (last && last.notAfter >= certificate.notAfter ? last : certificate),
    undefined,
  );
}
