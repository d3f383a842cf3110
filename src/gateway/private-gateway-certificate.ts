/**
 * Certificates that this gateway issues to private gateways (RS-002): at registration, and in cargo before the earlier
 * one ends. What builds certificates is loaded when the first is issued: it takes longer than all else that a start loads.
 */
import type { Certificate } from '../awala/pki/certificate.ts';
import type { RsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import type { Identity } from './identity.ts';
import type { Clock, Random } from './ports.ts';
import { BACKDATING, DAY } from './time.ts';

/** Deployed clients register again, some without a pause, when theirs has 90 days left (protocol section 1). */
const LEAST_VALIDITY = 120 * DAY;

/** The longest that a certificate may be valid (RS-002); our own may be longer where another implementation made it. */
const GREATEST_VALIDITY = 180 * DAY;

/** A certificate with less left is replaced; so is one with less than half of its life left (protocol section 6). */
const ROTATION_REMAINING = 90 * DAY;

/** RS-002: certificates that a peer issues, to endpoints, have path length 0. */
const PATH_LENGTH = 1;

const SERIAL_NUMBER_OCTETS = 16;

export interface CertificateParts {
  readonly identity: Identity;
  readonly random: Random;
  readonly clock: Clock;
}

/** Issues a private gateway's certificate, as long as our own allows. @throws StoreError; Error when the key's keeper does not sign */
export async function certifyPrivateGateway(
  publicKey: RsaPublicKey,
  { identity, random, clock }: CertificateParts,
): Promise<{ certificate: Certificate; issuer: Certificate }> {
  const now = clock.now();
  if (identity.issuer().certificate.notAfter - now < LEAST_VALIDITY) {
    await identity.refresh();
  }
  const issuer = identity.issuer();
  const notBefore = Math.max(now - BACKDATING, issuer.certificate.notBefore);
  const { issueCertificate } = await import('../awala/pki/issue-certificate.ts');
  const certificate = await issueCertificate({
    subjectPublicKey: publicKey,
    issuer,
    notBefore,
    notAfter: Math.min(issuer.certificate.notAfter, notBefore + GREATEST_VALIDITY),
    isCa: true,
    pathLength: PATH_LENGTH,
    serialNumber: random(SERIAL_NUMBER_OCTETS),
  });
  return { certificate, issuer: issuer.certificate };
}

/** Whether a private gateway is to be sent a new certificate in place of this one: it ends before long, or is by an older key of ours. */
export function isRotationDue(
  { notBefore, notAfter, issuerId }: Certificate,
  { identity, clock }: Pick<CertificateParts, 'identity' | 'clock'>,
): boolean {
  const remaining = notAfter - clock.now();
  return remaining < ROTATION_REMAINING || remaining < (notAfter - notBefore) / 2 || issuerId !== identity.id;
}
