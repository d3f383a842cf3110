/** Why a parcel could not be delivered to an Internet node, or not yet. */

/** Stable codes, which logs and traces tell. */
export type DeliveryFaultCode =
  /** The recipient's Internet address is no domain name. */
  | 'ADDRESS_INVALID'
  /** The resolver cannot be reached, or answers with something else than DNS. */
  | 'RESOLVER_AWAY'
  /** The answer of the DNS was not authenticated (DNSSEC). */
  | 'NAME_UNAUTHENTICATED'
  /** The DNS has no answer: no service record for the address, or no network address for the service. */
  | 'NAME_UNRESOLVED'
  /** It leads to a loopback, private, link-local, metadata or otherwise not public network address. */
  | 'DESTINATION_FORBIDDEN'
  | 'CONNECTION_FAILED'
  | 'TLS_FAILED'
  /** It took too long to connect, to take the parcel or to answer. */
  | 'TIMED_OUT'
  /** A redirect to anything but HTTPS. */
  | 'REDIRECT_INSECURE'
  /** A redirect without a location, or to none that can be read. */
  | 'REDIRECT_INVALID'
  | 'REDIRECTS_TOO_MANY'
  /** An answer that PoHTTP (RS-007) does not have. */
  | 'ANSWER_UNEXPECTED'
  /** 5xx or 429: not now. */
  | 'NOT_NOW'
  /** 4xx: never. */
  | 'REFUSED';

const FINAL: readonly DeliveryFaultCode[] = ['ADDRESS_INVALID', 'REFUSED'];

export class DeliveryFault extends Error {
  override readonly name = 'DeliveryFault';
  readonly code: DeliveryFaultCode;

  constructor(code: DeliveryFaultCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Whether trying again cannot help; anything else is tried until the parcel expires. */
  get isFinal(): boolean {
    return FINAL.includes(this.code);
  }
}
