/**
 * The private half of a key version that signs with RSA-PSS, as WebCrypto knows keys: it says where the key is, and has
 * the public half beside it.
 */
import { createPublicKey, type KeyObject, webcrypto } from 'node:crypto';
import { KmsError } from './errors.ts';
import type { KmsHash, KmsPublicKey } from './kms-client.ts';

const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
const PUBLIC_EXPONENT = Uint8Array.of(1, 0, 1);

/** What the name of a key version's algorithm says. */
export interface RsaPssAlgorithm {
  readonly bits: number;
  /** As WebCrypto names it. */
  readonly hash: 'SHA-256' | 'SHA-512';
  readonly kmsHash: KmsHash;
  /** KMS has the salt as long as the hash, always. */
  readonly saltOctets: number;
}

/** Source: https://cloud.google.com/kms/docs/algorithms#rsa_signing_algorithms */
const ALGORITHMS: Readonly<Record<string, RsaPssAlgorithm>> = {
  RSA_SIGN_PSS_2048_SHA256: sha256(2048),
  RSA_SIGN_PSS_3072_SHA256: sha256(3072),
  RSA_SIGN_PSS_4096_SHA256: sha256(4096),
  RSA_SIGN_PSS_4096_SHA512: { bits: 4096, hash: 'SHA-512', kmsHash: 'sha512', saltOctets: 64 },
};

function sha256(bits: number): RsaPssAlgorithm {
  return { bits, hash: 'SHA-256', kmsHash: 'sha256', saltOctets: 32 };
}

/** A private key that is in KMS. Its type, algorithm and usages are WebCrypto's; it cannot be extracted. */
export class KmsPrivateKey {
  readonly [Symbol.toStringTag] = 'CryptoKey';
  readonly type = 'private';
  readonly extractable = false;
  readonly usages: webcrypto.KeyUsage[] = ['sign'];
  readonly algorithm: webcrypto.KeyAlgorithm;
  /** Name of the key version. */
  readonly reference: string;
  readonly scheme: RsaPssAlgorithm;
  /** DER SubjectPublicKeyInfo with `rsaEncryption`. */
  readonly spki: Buffer;
  /** One of Node's own. */
  readonly publicKey: CryptoKey;

  constructor(reference: string, scheme: RsaPssAlgorithm, spki: Buffer, publicKey: CryptoKey) {
    this.reference = reference;
    this.scheme = scheme;
    this.spki = spki;
    this.publicKey = publicKey;
    this.algorithm = publicKey.algorithm;
  }

  /** @throws KmsError KMS_KEY_UNSUPPORTED when it is no RSA_SIGN_PSS key, or another than its algorithm says */
  static async of(reference: string, { pem, algorithm }: KmsPublicKey): Promise<KmsPrivateKey> {
    const scheme = ALGORITHMS[algorithm];
    if (!scheme) {
      throw unsupported(reference, `is ${algorithm}: use one of ${Object.keys(ALGORITHMS).join(', ')}`);
    }
    const spki = await rsaEncryptionSpki(reference, pem, scheme);
    const parameters = { name: 'RSA-PSS', hash: scheme.hash };
    const publicKey = await webcrypto.subtle.importKey('spki', new Uint8Array(spki), parameters, true, ['verify']);
    return new KmsPrivateKey(reference, scheme, spki, publicKey);
  }
}

/**
 * The key under `rsaEncryption`, whatever the PEM calls it: a node id is the digest of it in that form (RS-002), and with
 * the identifier of RSASSA-PSS the gateway would be another node.
 */
async function rsaEncryptionSpki(reference: string, pem: string, { bits }: RsaPssAlgorithm): Promise<Buffer> {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (error) {
    throw new KmsError('KMS_KEY_UNSUPPORTED', `${reference} has a public key that cannot be read`, { cause: error });
  }
  const details = key.asymmetricKeyDetails;
  const exponent = Buffer.from(PUBLIC_EXPONENT).readUIntBE(0, PUBLIC_EXPONENT.length);
  if (!key.asymmetricKeyType?.startsWith('rsa') || details?.modulusLength !== bits) {
    throw unsupported(reference, `has another public key than RSA of ${bits} bits`);
  }
  if (details.publicExponent !== BigInt(exponent)) {
    throw unsupported(reference, `has another public exponent than ${exponent}`);
  }
  const spki = key.export({ format: 'der', type: 'spki' });
  if (key.asymmetricKeyType === 'rsa') {
    return spki;
  }
  // Rarely needed, and it takes long to load.
  const [{ Null }, { AlgorithmIdentifier, PublicKeyInfo }] = await Promise.all([import('asn1js'), import('pkijs')]);
  const info = PublicKeyInfo.fromBER(spki);
  info.algorithm = new AlgorithmIdentifier({ algorithmId: RSA_ENCRYPTION, algorithmParams: new Null() });
  return Buffer.from(info.toSchema().toBER());
}

function unsupported(reference: string, what: string): KmsError {
  return new KmsError('KMS_KEY_UNSUPPORTED', `Key version ${reference} ${what}`);
}
