/** Why there is no new certificate: a stable code, what happened, and the likely mend. */

export type CertificateFaultCode =
  /** The terms of service were not agreed to. */
  | 'TERMS_NOT_AGREED'
  /** Something else listens where the authority looks for the answer to its challenge. */
  | 'PORT_TAKEN'
  /** This user may not listen there. */
  | 'PORT_FORBIDDEN'
  /** The authority cannot be reached, or does not answer with ACME. */
  | 'AUTHORITY_AWAY'
  /** The authority did not find the answer to its challenge under the name. */
  | 'CHALLENGE_FAILED'
  /** The authority was asked too often. */
  | 'RATE_LIMITED'
  /** The authority does not issue for this name, account or request. */
  | 'REFUSED'
  /** What it issued is not for this name, this key and this time. */
  | 'CERTIFICATE_WRONG'
  /** The certificate's folder cannot be used. */
  | 'FILES_UNUSABLE';

/** `message` says what happened, `mend` what is likely to help. */
export class CertificateFault extends Error {
  override readonly name = 'CertificateFault';
  readonly code: CertificateFaultCode;
  readonly mend: string;

  constructor(code: CertificateFaultCode, message: string, mend: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.mend = mend;
  }
}
