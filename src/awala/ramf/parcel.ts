/**
 * Parcels (RS-000): RAMF messages between endpoints. Reading one says nothing of whether it may pass; the functions
 * that verify it do, and their types tell it from then on.
 */
import { AwalaError } from '../errors.ts';
import type { Certificate } from '../pki/certificate.ts';
import type { CertificateCache } from '../pki/certificate-cache.ts';
import { verifyPath } from '../pki/certification-path.ts';
import { checkMessageDates, type RamfMessage, RamfType, readRamfMessage, verifyRamfMessage } from './ramf-message.ts';

/** The longest parcel, in octets: a longer one could never travel in cargo (protocol section 3). */
export const MAX_PARCEL_LENGTH = 8_322_037;

/** A parcel that was read, and not verified yet. */
export type Parcel = RamfMessage<typeof RamfType.PARCEL>;

/** A parcel whose sender may deliver it to the recipient's mailbox. */
export interface AuthorizedParcel {
  readonly parcel: Parcel;
  /** Node id of the private gateway that the recipient is behind. */
  readonly mailbox: string;
  /** The sender's certificate: the parcel delivery authorization that the recipient issued. */
  readonly pda: Certificate;
  /** From the PDA to our own certificate: PDA, endpoint, private gateway, Internet gateway. */
  readonly path: readonly Certificate[];
}

/** A parcel that its sender signed and that is valid now; it may go to any Internet node. */
export interface VerifiedParcel {
  readonly parcel: Parcel;
}

/**
 * Reads a parcel.
 *
 * @param bytes kept, not copied
 * @throws AwalaError as `readRamfMessage`
 */
export function readParcel(bytes: Buffer, cache: CertificateCache): Parcel {
  return readRamfMessage(RamfType.PARCEL, bytes, cache, MAX_PARCEL_LENGTH);
}

/**
 * Verifies a parcel for a private endpoint behind this gateway. The path must be: parcel delivery authorization (PDA),
 * the recipient endpoint's certificate, its private gateway's, one of ours (RS-002).
 *
 * @param trusted our own certificates
 * @param now ms since 1970
 * @param drift how far the clocks may differ, in ms
 * @throws AwalaError PARCEL_UNAUTHORIZED, CERTIFICATE_UNTRUSTED, CERTIFICATE_SIGNATURE_INVALID, or as
 *   `verifyRamfMessage`
 */
export function verifyParcelForMailbox(
  parcel: Parcel,
  trusted: readonly Certificate[],
  now: number,
  drift: number,
): AuthorizedParcel {
  const { sender, recipient, signedData } = parcel;
  // What costs least comes first.
  checkMessageDates(parcel, now, drift);
  if (sender.issuerId !== recipient.id) {
    throw unauthorized(`Sender ${sender.subjectId} has no delivery authorization from recipient ${recipient.id}`);
  }
  const { certificates: intermediates, cache } = signedData;
  const path = verifyPath(sender, { intermediates, trusted, now, drift, cache });
  const [, , privateGateway, internetGateway] = path;
  if (!privateGateway || !internetGateway) {
    throw unauthorized(`Recipient ${recipient.id} is not an endpoint behind a private gateway`);
  }
  verifyRamfMessage(parcel, now, drift);
  return { parcel, mailbox: privateGateway.subjectId, pda: sender, path };
}

/**
 * Verifies a parcel for a node elsewhere on the Internet: signature and dates only, since its sender may well have
 * issued its own certificate (protocol section 4).
 *
 * @param now ms since 1970
 * @param drift how far the clocks may differ, in ms
 * @throws AwalaError as `verifyRamfMessage`
 */
export function verifyParcelForInternet(parcel: Parcel, now: number, drift: number): VerifiedParcel {
  verifyRamfMessage(parcel, now, drift);
  return { parcel };
}

function unauthorized(reason: string): AwalaError {
  return new AwalaError('PARCEL_UNAUTHORIZED', reason);
}
