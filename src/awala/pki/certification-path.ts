/**
 * Certification paths: from a certificate, issuer by issuer, to one that is trusted.
 */
import { AwalaError } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import type { CertificateCache } from './certificate-cache.ts';

/** The longest path, its ends included: PDA, endpoint, private gateway, Internet gateway (RS-002). */
const MAX_PATH = 4;

/** What a path is looked for with. */
export interface PathSearch {
  /** Where issuers are found: any certificates, in any order. */
  readonly intermediates: readonly Certificate[];
  /** Where a path must end. */
  readonly trusted: readonly Certificate[];
  /** ms since 1970 */
  readonly now: number;
  /** How far the clocks may differ, in ms. */
  readonly drift: number;
  /** Remembers the certificates on the path. */
  readonly cache: CertificateCache;
}

/**
 * Builds and verifies a path. Each certificate in it is valid now and signed by the next one, which may issue
 * certificates (Basic Constraints) and so many below itself (path length).
 *
 * Issuers are found by node id, which stands for one key only. So each certificate's signature is checked at most
 * once, however many certificates its issuer has, and the work is bounded by the number of intermediates.
 *
 * @returns the path, leaf first, trusted certificate last
 * @throws AwalaError CERTIFICATE_NOT_YET_VALID or CERTIFICATE_EXPIRED (the leaf), CERTIFICATE_SIGNATURE_INVALID,
 *   CERTIFICATE_UNTRUSTED
 */
export function verifyPath(leaf: Certificate, search: PathSearch): readonly Certificate[] {
  leaf.checkDates(search.now, search.drift);
  const forged: Certificate[] = [];
  const path = extend([leaf], search, forged);
  if (!path) {
    const [certificate] = forged;
    throw certificate
      ? new AwalaError(
          'CERTIFICATE_SIGNATURE_INVALID',
          `Certificate of ${certificate.subjectId} is not signed by ${certificate.issuerId}`,
        )
      : new AwalaError(
          'CERTIFICATE_UNTRUSTED',
          `No valid path leads from the certificate of ${leaf.subjectId} to a trusted one`,
        );
  }
  for (const certificate of path) {
    search.cache.remember(certificate);
  }
  return path;
}

/**
 * Looks for the rest of a path, `MAX_PATH` deep at most. A forged certificate only ends the attempt that it is on: the
 * certificates beside a message are not signed, so that anyone on its way can add one.
 *
 * @param forged takes up the certificates that have a bad signature
 */
function extend(
  path: readonly Certificate[],
  search: PathSearch,
  forged: Certificate[],
): readonly Certificate[] | undefined {
  const subject = path.at(-1) as Certificate;
  const isIssuer = (candidate: Certificate) => mayIssue(candidate, subject, path.length, search);
  const intermediates = path.length < MAX_PATH - 1 ? search.intermediates : [];
  const anchor = search.trusted.find(isIssuer);
  const issuer = anchor ?? intermediates.find(isIssuer);
  if (!issuer) {
    return undefined;
  }
  if (!subject.isSignedBy(issuer.publicKey)) {
    // Nor by any of the others: an id stands for one key.
    forged.push(subject);
    return undefined;
  }
  if (anchor) {
    return [...path, anchor];
  }
  for (const other of intermediates) {
    const found = isIssuer(other) && !path.includes(other) ? extend([...path, other], search, forged) : undefined;
    if (found) {
      return found;
    }
  }
  return undefined;
}

/** Whether `issuer` may have issued `subject`, which is the last of `length` certificates of a path; without its signature. */
function mayIssue(issuer: Certificate, subject: Certificate, length: number, { now, drift }: PathSearch): boolean {
  return (
    issuer.subjectId === subject.issuerId &&
    issuer.isCa &&
    (issuer.pathLength === undefined || issuer.pathLength >= length - 1) &&
    issuer.notBefore <= now + drift &&
    issuer.notAfter >= now - drift
  );
}
