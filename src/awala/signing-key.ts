/**
 * A private key that signs but is never seen: it may live inside a KMS, so signing is asynchronous and goes through
 * WebCrypto. Verifying does not (see `pki/rsa-public-key.ts`).
 */
export interface SigningKey {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  /** The WebCrypto implementation that the two belong to. */
  readonly crypto: Crypto;
}
