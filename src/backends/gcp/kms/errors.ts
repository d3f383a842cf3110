/** The one list of reasons for which keys in Cloud KMS cannot be used. */

export type KmsErrorCode =
  /** There is no such key or key version. */
  | 'KMS_KEY_NOT_FOUND'
  /** The credentials do not allow the call, or there are none. */
  | 'KMS_DENIED'
  /** The key version is disabled, destroyed, or could not be generated. */
  | 'KMS_KEY_UNUSABLE'
  /** The key version is still being generated, after all the time that it was given. */
  | 'KMS_KEY_PENDING'
  /** A key of another purpose or algorithm than RSA_SIGN_PSS. */
  | 'KMS_KEY_UNSUPPORTED'
  /** KMS refused what it was asked, e.g. to decrypt octets that were changed. */
  | 'KMS_REQUEST_REFUSED'
  /** KMS or the way to it is down, slow, or out of quota: it may work later. */
  | 'KMS_AWAY'
  /** Checksum or key name of an answer are wrong, several times over. */
  | 'KMS_ANSWER_CORRUPT'
  /** Signing with another hash or salt than the key version's. */
  | 'ALGORITHM_UNSUPPORTED'
  /** Private keys are generated in KMS only. */
  | 'PRIVATE_KEY_GENERATION_REFUSED'
  /** Private keys come into KMS by import jobs only. */
  | 'PRIVATE_KEY_IMPORT_REFUSED'
  /** Private keys never leave KMS. */
  | 'PRIVATE_KEY_EXPORT_REFUSED';

/** What is wrong with a key in KMS, or with what it was asked to do. */
export class KmsError extends Error {
  override readonly name = 'KmsError';
  readonly code: KmsErrorCode;

  constructor(code: KmsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
