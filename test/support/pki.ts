/**
 * Identities and certificates for tests and benchmarks, made by our own writers: an Internet gateway, a private gateway
 * behind it, an endpoint of that, and a sender that the endpoint authorized.
 *
 * The keys are committed (`test/support/keys/`) and each is read once a process.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Signer } from '../../src/awala/cms/sign.ts';
import type { Certificate, PdaRateLimit } from '../../src/awala/pki/certificate.ts';
import { type CertificateRequest, issueCertificate } from '../../src/awala/pki/issue-certificate.ts';
import { type RsaPublicKey, readRsaPublicKey } from '../../src/awala/pki/rsa-public-key.ts';
import { type RamfFields, writeParcel } from '../../src/awala/ramf/write-ramf.ts';
import type { SessionKeyPair } from '../../src/awala/session-key.ts';
import type { SigningKey } from '../../src/awala/signing-key.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** The keys that are committed; all of 2048 bits but the last two. */
export type TestKeyName =
  | 'internet-gateway'
  | 'other-internet-gateway'
  | 'private-gateway'
  | 'other-private-gateway'
  | 'endpoint'
  | 'other-endpoint'
  | 'sender'
  | 'other-sender'
  | 'stranger'
  | 'rsa-3072'
  | 'rsa-4096';

/** A node's identity key, in every form that some test wants. */
export interface TestIdentity {
  readonly id: string;
  readonly key: SigningKey;
  readonly publicKey: RsaPublicKey;
  /** PKCS#8, DER: for other libraries. */
  readonly privateKey: Buffer;
}

/** An identity with a certificate. */
export interface TestNode extends TestIdentity, Signer {}

export interface CertificateOptions {
  /** Milliseconds; three hours ago by default, or the issuer's start where that is later. */
  readonly notBefore?: number;
  /** Milliseconds; the issuer's end by default, or in 177 days. */
  readonly notAfter?: number;
  readonly isCa?: boolean;
  readonly pathLength?: number;
  readonly pdaRateLimit?: PdaRateLimit;
  /** The next of a count by default. */
  readonly serialNumber?: Buffer;
}

const identities = new Map<TestKeyName, Promise<TestIdentity>>();
let serialNumbers = 0;

/** The identity with a committed key. */
export function testIdentity(name: TestKeyName): Promise<TestIdentity> {
  let identity = identities.get(name);
  if (!identity) {
    identity = identityOf(readFileSync(new URL(`./keys/${name}.pem`, import.meta.url)));
    identities.set(name, identity);
  }
  return identity;
}

/** An identity with a new key of 2048 bits; takes a few tenths of a second. */
export function newTestIdentity(): Promise<TestIdentity> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return identityOf(privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

/** Gives an identity a certificate by itself; a gateway's, unless told otherwise. */
export function selfIssued(identity: TestIdentity, options: CertificateOptions = {}): Promise<TestNode> {
  const notBefore = options.notBefore ?? Date.now() - 3 * HOUR;
  return certified(identity, {
    issuer: { selfSignedWith: identity.key },
    isCa: true,
    pathLength: 2,
    ...options,
    notBefore,
    notAfter: options.notAfter ?? notBefore + 180 * DAY,
  });
}

/** Gives an identity a certificate by another node: a private gateway's, unless told otherwise. */
export function issued(identity: TestIdentity, by: Signer, options: CertificateOptions = {}): Promise<TestNode> {
  return certified(identity, {
    issuer: { key: by.key, certificate: by.certificate },
    isCa: true,
    pathLength: 1,
    ...options,
    notBefore: options.notBefore ?? Math.max(Date.now() - 3 * HOUR, by.certificate.notBefore),
    notAfter: options.notAfter ?? by.certificate.notAfter,
  });
}

/** What stands between an Internet gateway and who may send parcels to one of its private endpoints. */
export interface TestChain {
  readonly gateway: TestNode;
  readonly privateGateway: TestNode;
  readonly endpoint: TestNode;
  /** Its certificate is the delivery authorization (PDA). */
  readonly sender: TestNode;
}

export interface ChainOptions {
  readonly keys?: Partial<Readonly<Record<keyof TestChain, TestKeyName>>>;
  /** Of all certificates. */
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly pdaRateLimit?: PdaRateLimit;
  /** Takes the place of the Internet gateway that would be made. */
  readonly gateway?: TestNode;
}

/** A chain valid since three hours ago and for half a year, unless told otherwise. */
export async function testChain(options: ChainOptions = {}): Promise<TestChain> {
  const { keys = {}, notBefore, notAfter, pdaRateLimit } = options;
  const dates = { ...(notBefore !== undefined && { notBefore }), ...(notAfter !== undefined && { notAfter }) };
  const gateway = options.gateway ?? (await selfIssued(await testIdentity(keys.gateway ?? 'internet-gateway'), dates));
  const privateGateway = await issued(await testIdentity(keys.privateGateway ?? 'private-gateway'), gateway, dates);
  const endpoint = await issued(await testIdentity(keys.endpoint ?? 'endpoint'), privateGateway, {
    ...dates,
    pathLength: 0,
  });
  const sender = await issued(await testIdentity(keys.sender ?? 'sender'), endpoint, {
    ...dates,
    isCa: false,
    pathLength: 0,
    ...(pdaRateLimit && { pdaRateLimit }),
  });
  return { gateway, privateGateway, endpoint, sender };
}

/** A parcel's certificates above the sender's, leaf first: endpoint, private gateway and Internet gateway. */
export function authorities(chain: TestChain): Certificate[] {
  return [chain.endpoint.certificate, chain.privateGateway.certificate, chain.gateway.certificate];
}

/**
 * Serializes a parcel from the chain's sender to its endpoint: 1 KiB of payload, created a minute ago, for a day,
 * unless told otherwise.
 */
export function testParcel(chain: TestChain, fields: Partial<RamfFields> = {}): Promise<Buffer> {
  const message = {
    recipient: { id: chain.endpoint.id },
    messageId: webcrypto.randomUUID(),
    creation: Date.now() - 60_000,
    ttl: DAY / 1000,
    payload: Buffer.alloc(1024, 'parcel'),
    ...fields,
  };
  return writeParcel(message, chain.sender, authorities(chain).slice(0, 2));
}

/** A new session key pair on P-256, or on another curve by its OpenSSL name. */
export function newSessionKey(curve = 'prime256v1'): SessionKeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: curve });
  return {
    keyId: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }),
    publicKey: publicKey.export({ type: 'spki', format: 'der' }),
  };
}

type Issuance = Omit<CertificateRequest, 'subjectPublicKey' | 'serialNumber'> &
  Pick<CertificateOptions, 'serialNumber'>;

async function certified(identity: TestIdentity, issuance: Issuance): Promise<TestNode> {
  const serialNumber = Buffer.alloc(8);
  serialNumber.writeUInt32BE(++serialNumbers, 4);
  const certificate = await issueCertificate({ serialNumber, ...issuance, subjectPublicKey: identity.publicKey });
  return { ...identity, certificate };
}

async function identityOf(pem: string | Buffer): Promise<TestIdentity> {
  const privateKey = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  const spki = createPublicKey(pem).export({ type: 'spki', format: 'der' });
  const publicKey = readRsaPublicKey(spki);
  const algorithm = { name: 'RSA-PSS', hash: 'SHA-256' };
  const { subtle } = webcrypto;
  return {
    id: publicKey.nodeId,
    publicKey,
    privateKey,
    key: {
      crypto: webcrypto as Crypto,
      privateKey: await subtle.importKey('pkcs8', privateKey, algorithm, true, ['sign']),
      publicKey: await subtle.importKey('spki', spki, algorithm, true, ['verify']),
    },
  };
}
