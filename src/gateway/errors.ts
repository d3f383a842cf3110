/**
 * Why the gateway refuses what the protocol itself would allow, and the ids by which a message is traced.
 */

/**
 * Stable codes of the gateway's own refusals. Those of the protocol are `AwalaErrorCode`; those of stores
 * `StoreError.code`.
 */
export type GatewayErrorCode =
  /** A key of this gateway, under which others are registered, is missing from the stores: it must not start without. */
  | 'IDENTITY_KEY_MISSING'
  /** There is no identity yet that is valid, and this process may not make one. */
  | 'IDENTITY_PENDING'
  /** This process may not sign certificates of the gateway's own; others do. */
  | 'ISSUING_ELSEWHERE'
  /** A backup is only half restored onto the stores: the gateway must not start on them. */
  | 'RESTORE_UNFINISHED'
  /** PoHTTP: the recipient is not behind this gateway, and PoHTTP never relays (protocol section 4). */
  | 'WRONG_GATEWAY'
  /** The recipient's mailbox has no room. */
  | 'MAILBOX_FULL'
  /** The recipient's mailbox has no room, nor has the sender's outbox. */
  | 'OUTBOX_FULL'
  /** The parcel is over the rate that its delivery authorization allows. */
  | 'RATE_EXCEEDED'
  /** The private gateway has too much cargo here that was not opened yet. */
  | 'CARGO_FULL'
  /** A registration authorization (PNRA) was presented twice. */
  | 'TOKEN_USED'
  /** The operator has blocked this private gateway. */
  | 'PEER_BLOCKED'
  /** Only private gateways that the operator allows may register, and this is none of them. */
  | 'PEER_NOT_ALLOWED'
  /** No private gateway may register any more. */
  | 'REGISTRATION_CLOSED'
  /** A private gateway does something too often. */
  | 'PEER_LIMITED'
  /** A cargo collection authorization (CCA) is for another gateway. */
  | 'CCA_FOR_ANOTHER_GATEWAY'
  /** A CCA under which a collection has ended well before. */
  | 'CCA_SPENT'
  /** A newer call collects under the same CCA. */
  | 'CCA_SUPERSEDED'
  /** A session key is not known: ours that a message was encrypted for, or the peer's that one would be. */
  | 'SESSION_KEY_UNKNOWN';

/**
 * What traces one message through logs, from the door where it came in to the acknowledgement of the next hop.
 *
 * A door makes it with the id alone; the gateway fills in the rest as it reads the message, so that a refusal, too,
 * is logged with all that was known by then.
 */
export interface TraceIds {
  /** The id of the request that brought it. */
  readonly trace: string;
  /** Node id of the private gateway that sent or collects it. */
  peer?: string;
  /** RAMF message id of the cargo that it came in, or that it is. */
  cargo?: string;
  /** RAMF message id. */
  parcel?: string;
  /** RAMF message id of the cargo collection authorization (CCA) under which it is collected. */
  cca?: string;
  /** Node id of the sending endpoint. */
  sender?: string;
  /** Node id of the receiving endpoint. */
  recipient?: string;
  /** Where it was put to wait. */
  place?: 'mailbox' | 'outbox' | 'held';
  /** Node id of the private gateway whose mailbox it is for. */
  mailbox?: string;
  /** The Internet address that it is for. */
  destination?: string;
}

/** A refusal by the gateway, for a reason that has a code. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly code: GatewayErrorCode;

  constructor(code: GatewayErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
