/**
 * Who this gateway is: its identity keys and its own certificates (RS-002).
 *
 * Several keys may exist: the newest issues, each older one keeps its id and is served until it ends (`identity-keys.ts`).
 * Each key has one or more self-issued certificates, valid at once: the one that expires last signs, all verify. Records
 * hold them all and decide between replicas that would make the same one; this object holds a picture of them in memory,
 * so that a parcel costs no look-up.
 */
import { type Certificate, readCertificate } from '../awala/pki/certificate.ts';
import type { RsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import { GatewayError } from './errors.ts';
import { IdentityKeyList, type OwnKey } from './identity-keys.ts';
import { KeyListAge } from './key-list-age.ts';
import { type Clock, type IdentityKey, type IdentityKeys, type Random, type Records, StoreError } from './ports.ts';
import { BACKDATING, DAY, MINUTE, SECOND } from './time.ts';

/** How long a self-issued certificate is valid (protocol section 1). */
const VALIDITY = 180 * DAY;

/** A new certificate is made while this much of the last one's time remains. */
const RENEWAL_REMAINING = 150 * DAY;

/** RS-002: our certificate, those we issue to private gateways (1), and theirs to endpoints (0). */
const PATH_LENGTH = 2;

const SERIAL_NUMBER_OCTETS = 16;

/** A rotation within this time of the last one is not carried out, unless it is forced: a command may be run again. */
const ROTATION_PAUSE = DAY;

/** Of a takeover, in milliseconds, what is for clocks that differ: the rest is what others may take to read the keys again. */
export const TAKEOVER_MARGIN = MINUTE;

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
  private readonly takeover: number;
  private readonly isIssuer: boolean;
  private readonly keyList: IdentityKeyList;
  private readonly age: KeyListAge;
  /** Those that are served, oldest first. */
  private keys: readonly OwnKey[] = [];
  private certificates: readonly Certificate[] = [];
  private made = 0;

  private constructor(parts: IdentityParts) {
    this.internetAddress = parts.internetAddress;
    this.identityKeys = parts.identityKeys;
    this.records = parts.records;
    this.random = parts.random;
    this.clock = parts.clock;
    this.takeover = parts.takeover ?? 0;
    this.isIssuer = parts.isIssuer ?? true;
    this.keyList = new IdentityKeyList(parts);
    const limit = this.takeover === 0 ? Number.POSITIVE_INFINITY : this.takeover - TAKEOVER_MARGIN;
    this.age = new KeyListAge({ clock: parts.clock, limit, reload: () => this.load() });
  }

  /**
   * Opens the identity in `records`, making its first key and certificate where there are none and it may.
   *
   * @throws GatewayError IDENTITY_KEY_MISSING; IDENTITY_PENDING, where others have still to make it; StoreError
   */
  static async open(parts: IdentityParts): Promise<Identity> {
    const identity = new Identity(parts);
    if (!identity.isIssuer) {
      await identity.load();
      identity.requireCertified();
      return identity;
    }
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

  /** The newest key, once every process has had the time to know of it. */
  issuingKey(): OwnKey {
    const now = this.clock.now();
    return this.keys.findLast(({ issuesFrom }) => issuesFrom <= now) ?? (this.keys[0] as OwnKey);
  }

  /** All keys that are served, oldest first. */
  allKeys(): readonly OwnKey[] {
    return this.keys;
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

  /**
   * Does a check against our keys or certificates, which it is to read afresh. Where it throws, and another process may use
   * a key that is unknown here, the records are read again first, every two seconds at most.
   *
   * @throws whatever `check` throws; StoreError, where that is not final and the records are away
   */
  judge<Value>(check: () => Value): Promise<Value> {
    return this.age.judge(check);
  }

  /** As `judge`, without waiting for the records: what is not final is a StoreError. */
  judgeNow<Value>(check: () => Value): Value {
    return this.age.judgeNow(check);
  }

  /** How many certificates this process has made for itself. */
  get certificatesMade(): number {
    return this.made;
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
   * Makes a further key, which issues from now on; where processes share the records, once each has had the time to know
   * of it. The earlier ones keep their ids and certificates, and are served until those end.
   *
   * Who is killed in its middle leaves either nothing or a key that counts, and `refresh` completes it.
   *
   * @param options.isForced also within a day of the last rotation, which is otherwise taken for this one
   * @returns whether this call made a key
   * @throws GatewayError IDENTITY_KEY_MISSING, ISSUING_ELSEWHERE; StoreError
   */
  async rotateKey({ isForced = false }: { isForced?: boolean } = {}): Promise<boolean> {
    await this.refresh();
    if (!isForced && !this.isRotationWelcome()) {
      return false;
    }
    const key = await this.identityKeys.create();
    // Another process that rotates at the same time has the same number: one key of the two counts.
    const isMade = await this.keyList.add(this.nextNumber(), key, this.takeover);
    await this.refresh();
    return isMade;
  }

  /** Whether a key may be made: the newest is the first one, or older than a day. */
  isRotationWelcome(): boolean {
    const newest = this.newestKey();
    return newest.number === 1 || this.clock.now() - newest.created >= ROTATION_PAUSE;
  }

  /**
   * Makes a certificate now, whether one is due or not.
   *
   * @throws GatewayError IDENTITY_KEY_MISSING, ISSUING_ELSEWHERE; StoreError
   */
  async renewCertificate(): Promise<void> {
    await this.refresh();
    await this.issueOwnCertificate(this.issuingKey(), { isForced: true });
    this.certificates = await this.loadCertificates();
  }

  /** Whether `refresh` would make a certificate now, by what was read last. */
  isRenewalDue(): boolean {
    return this.needCertificates().length > 0;
  }

  /**
   * Reads the records again and makes what is due: the first key, or a certificate while the last has 150 days left.
   * Housekeeping calls this; running it anywhere and any number of times is harmless.
   *
   * @throws GatewayError IDENTITY_KEY_MISSING, when a key is gone that was used; ISSUING_ELSEWHERE, where this process may
   *   make nothing; StoreError
   */
  async refresh(): Promise<void> {
    this.requireIssuer();
    await this.load();
    const inNeed = this.needCertificates();
    for (const key of inNeed) {
      await this.issueOwnCertificate(key);
    }
    if (inNeed.length > 0) {
      this.certificates = await this.loadCertificates();
    }
  }

  /** Reads the records again, and changes nothing. @throws GatewayError IDENTITY_KEY_MISSING; StoreError */
  async reload(): Promise<void> {
    await this.load();
  }

  private requireIssuer(): void {
    if (!this.isIssuer) {
      throw new GatewayError(
        'ISSUING_ELSEWHERE',
        'This process has no right to sign certificates: ask one that has poweb, cogrpc or worker among its SERVICES',
      );
    }
  }

  /** What serves needs a key and a valid certificate of it. */
  private requireCertified(): void {
    const { nodeId } = this.issuingKey().publicKey;
    if (!this.trusted().some(({ subjectId }) => subjectId === nodeId)) {
      throw identityPending();
    }
  }

  /** The key that issues, and the one that will, as far as their last certificates do not last. */
  private needCertificates(): OwnKey[] {
    return [...new Set([this.issuingKey(), this.newestKey()])].filter(({ publicKey }) => {
      const last = lastToExpire(this.certificates.filter((own) => own.subjectId === publicKey.nodeId));
      return !last || last.notAfter - this.clock.now() < RENEWAL_REMAINING;
    });
  }

  private newestKey(): OwnKey {
    return this.keys.at(-1) as OwnKey;
  }

  private nextNumber(): number {
    return this.newestKey().number + 1;
  }

  /** A key that was used and is gone must not be replaced in silence: every private gateway would be lost with it. */
  private async load(): Promise<void> {
    const began = this.clock.now();
    // What keys have signed is read before the keys: whoever made it had stored its key by then.
    const [mayBeNew, certificates] = await Promise.all([
      this.keys.length === 0 && this.hasPrivateGateways().then((has) => !has),
      this.loadCertificates(),
    ]);
    let keys = await this.loadKeys(certificates);
    if (keys.length === 0 && mayBeNew && certificates.length === 0) {
      if (!this.isIssuer) {
        throw identityPending();
      }
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
    this.age.note(began);
  }

  private async hasPrivateGateways(): Promise<boolean> {
    for await (const _ of this.records.list('private-gateways')) {
      return true;
    }
    return false;
  }

  private loadKeys(certificates: readonly Certificate[]): Promise<OwnKey[]> {
    const certified = new Set(certificates.map(({ subjectId }) => subjectId));
    return this.keyList.load(this.keys, (nodeId) => certified.has(nodeId));
  }

  private async makeFirstKey(): Promise<OwnKey[]> {
    // Only one replica's first key counts, and it issues at once: there is no other.
    await this.keyList.add(1, await this.identityKeys.create(), 0);
    return this.loadKeys([]);
  }

  private async loadCertificates(): Promise<Certificate[]> {
    const certificates: Certificate[] = [];
    for await (const { fields } of this.records.list('own-certificates')) {
      const bytes = Buffer.from(fields['certificate'] as Uint8Array);
      certificates.push(this.certificates.find((known) => known.raw.equals(bytes)) ?? readCertificate(bytes));
    }
    return certificates;
  }

  private async issueOwnCertificate(
    { signing, publicKey }: OwnKey,
    { isForced = false }: { isForced?: boolean } = {},
  ): Promise<void> {
    const now = this.clock.now();
    const last = lastToExpire(this.certificates.filter((own) => own.subjectId === publicKey.nodeId));
    // What is made by order issues from then on, so it must expire last, be it the second one within a second.
    const notBefore = Math.max(now - BACKDATING, isForced && last ? last.notBefore + SECOND : 0);
    // Most starts and rounds of housekeeping issue nothing, and it takes long to load.
    const { issueCertificate } = await import('../awala/pki/issue-certificate.ts');
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
    const name = isForced ? `${day}-${certificate.serialNumber}` : day;
    const isMade = await this.records.create(
      'own-certificates',
      `${publicKey.nodeId}/${name}`,
      { certificate: certificate.raw },
      certificate.notAfter,
    );
    this.made += isMade ? 1 : 0;
  }
}

export interface IdentityParts {
  readonly internetAddress: string;
  readonly identityKeys: IdentityKeys;
  readonly records: Records;
  readonly random: Random;
  readonly clock: Clock;
  /**
   * For how long, in milliseconds, a new key only verifies: longer than other processes take to `refresh`, so that none
   * refuses what another has issued under it. 0, as by default, where this process has the records for itself.
   */
  readonly takeover?: number;
  /** Whether this process makes the key and certificates where they are due, as by default; else others do. */
  readonly isIssuer?: boolean;
}

function identityPending(): GatewayError {
  return new GatewayError(
    'IDENTITY_PENDING',
    'There is no valid certificate of this gateway, and this process may not sign one: start a process that has poweb, ' +
      'cogrpc or worker among its SERVICES',
  );
}

function lastToExpire(certificates: readonly Certificate[]): Certificate | undefined {
  return certificates.reduce<Certificate | undefined>(
    (last, certificate) => (last && last.notAfter >= certificate.notAfter ? last : certificate),
    undefined,
  );
}
