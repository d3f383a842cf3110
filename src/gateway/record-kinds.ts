/** The kinds of records. */

/** What kinds of records there are; each backend gives each a table or collection of its own. */
export const RECORD_KINDS = [
  /** This gateway's identity keys: wrapped privately, or a reference into a KMS. */
  'identity-keys',
  /** This gateway's own certificates. */
  'own-certificates',
  /** This gateway's session keys, wrapped; by the peer that each is bound to. */
  'session-keys',
  /** The newest session key of each private gateway. */
  'peer-session-keys',
  /** Parcels that came in cargo, by private gateway: each owes a collection acknowledgement (PCA) until it expires. */
  'collected-parcels',
  /** Certificates of private gateways that their holders revoked. */
  'revoked-certificates',
  /** Parcel delivery authorizations (PDAs) that endpoints revoked, by private gateway and endpoint. */
  'revoked-authorizations',
  /** Values of which there is one, e.g. which unbound session key is current. */
  'configuration',
  /** Registered private gateways. */
  'private-gateways',
  /** Tokens that may be used once: PNRA nonces. */
  'single-use-tokens',
  /** Private gateways that may register where not everyone may. */
  'allowed-peers',
  /** Private gateways that are refused whatever they ask. */
  'blocked-peers',
  /** Parcels that Internet nodes have taken: the SHA-256 of their octets, until they expire. */
  'sent-parcels',
  /** Cargo collection authorizations (CCA) that were used: which call has one, and whether it is spent. */
  'cca-claims',
  /** What couriers have acknowledged to the calls under a CCA. */
  'cca-progress',
  /** By private gateway: when its last complete collection of cargo began, and up to when its mailbox was loaded. */
  'cargo-collections',
  /** Which process does something for all; each runs out. */
  'leases',
] as const;

export type RecordKind = (typeof RECORD_KINDS)[number];
