/**
 * What the doctor finds wrong: a stable code, what happened, and the likely mend.
 */

/** Stable codes of the doctor's findings; where a message cannot be read, the code is the reader's `AwalaErrorCode`. */
export type DoctorFaultCode =
  /** Nothing listens there, or no way leads there. */
  | 'UNREACHABLE'
  /** The host's name has no address. */
  | 'NAME_UNKNOWN'
  /** The DNS-over-HTTPS resolver does not answer, or not with DNS. */
  | 'RESOLVER_AWAY'
  /** The DNS answers with a failure: often a broken DNSSEC chain. */
  | 'DNS_FAILED'
  /** There is no SRV record by which clients find a door. */
  | 'SERVICE_MISSING'
  /** There are several, of which clients take any. */
  | 'SERVICE_AMBIGUOUS'
  /** The zone is not signed (DNSSEC), or the resolver does not validate. */
  | 'NAME_UNAUTHENTICATED'
  /** The TLS certificate is not by an authority that this machine trusts, or not valid now. */
  | 'TLS_UNTRUSTED'
  /** The TLS certificate is for another host. */
  | 'TLS_NAME_WRONG'
  /** The TLS certificate should have been renewed by now. */
  | 'TLS_EXPIRES_SOON'
  /** A TLS version is missing that deployed clients need. */
  | 'TLS_VERSION_MISSING'
  /** One side speaks TLS and the other does not. */
  | 'TLS_EXPECTED_OTHERWISE'
  /** What answers does not speak HTTP. */
  | 'NOT_HTTP'
  /** The connection ended in the middle. */
  | 'CONNECTION_CLOSED'
  /** No whole answer within the time that deployed clients wait. */
  | 'ANSWER_LATE'
  /** The examination's own time is up. */
  | 'DEADLINE_EXCEEDED'
  /** The HTTP status is not the one that the protocol has for this call. */
  | 'STATUS_UNEXPECTED'
  /** The Content-Type is not, as a whole string, the one that clients compare it to. */
  | 'CONTENT_TYPE_UNEXPECTED'
  | 'ANSWER_TOO_LONG'
  /** The two clocks differ by more than the protocol tolerates. */
  | 'CLOCKS_DIFFER'
  /** A message can be read, but says something that it should not. */
  | 'ANSWER_WRONG'
  /** A certificate that was issued is not as RS-002 has it. */
  | 'CERTIFICATE_WRONG'
  /** The collection's connection ended with a code that tells of a fault. */
  | 'COLLECTION_CLOSED'
  /** A parcel that was accepted was not collected. */
  | 'PARCEL_LOST'
  /** A parcel was collected that differs from what was sent. */
  | 'PARCEL_ALTERED'
  /** Cargo was not acknowledged. */
  | 'CARGO_NOT_TAKEN'
  /** Cargo that some deployed client would refuse or drop. */
  | 'CARGO_WRONG'
  /** An acknowledged parcel was delivered again. */
  | 'PARCEL_NOT_DELETED';

/** A finding. `message` says what happened, `mend` what is likely to help. */
export class DoctorFault extends Error {
  override readonly name = 'DoctorFault';
  readonly code: DoctorFaultCode;
  readonly mend: string;

  constructor(code: DoctorFaultCode, message: string, mend: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.mend = mend;
  }
}
