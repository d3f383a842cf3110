/** Why we close a collection (RS-016). */
export const CloseCode = {
  /** All that waited was collected; only in `close-upon-completion`. */
  COMPLETE: 1000,
  /** Invalid handshake response or acknowledgement. */
  CANNOT_ACCEPT: 1003,
  /** The client is a browser. */
  POLICY: 1008,
  /** Something failed here. */
  INTERNAL_ERROR: 1011,
  /** The client may come back at once. */
  COME_BACK: 4000,
} as const;

export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];
