/** What an operator orders of a gateway's identity: a new certificate, a new key. Each change is logged. */
import type { Logger } from 'pino';
import type { Identity } from '../../gateway/identity.ts';

/** How an order is carried out. */
export interface RotationOptions {
  /** Also where none is due. */
  readonly isForced: boolean;
  /** Says what would be done, and does nothing. */
  readonly isDryRun: boolean;
}

/** JSON; dates are in ISO 8601. */
export interface CertificateRotated {
  /** Of the key that issues. */
  readonly nodeId: string;
  /** Whether a certificate was made; with a dry run, would be. */
  readonly isRotated: boolean;
  readonly isDryRun: boolean;
  /** Of the certificate that issues now. */
  readonly serialNumber: string;
  readonly notAfter: string;
}

/** JSON; dates are in ISO 8601. */
export interface KeyRotated {
  /** Whether a key was made; with a dry run, would be. */
  readonly isRotated: boolean;
  readonly isDryRun: boolean;
  /** Those that are served, oldest first. */
  readonly keys: readonly OwnKeyReport[];
}

export interface OwnKeyReport {
  readonly nodeId: string;
  readonly created: string;
  /** `waits`: it only verifies, until all processes know of it. `served`: it issued before. */
  readonly state: 'issues' | 'waits' | 'served';
  /** `waits` only. */
  readonly issuesFrom?: string;
  /** `served` only: until when at least; the keeper must have it so long. */
  readonly end?: string;
}

/**
 * Makes a certificate where the last one has 150 days left or fewer, as housekeeping does by itself.
 *
 * @param madeBefore how many certificates this process had made before the order: none where it was started for it, since
 *   the stores, opened, make what is due
 * @throws GatewayError IDENTITY_KEY_MISSING; StoreError
 */
export async function rotateCertificate(
  identity: Identity,
  { isForced, isDryRun }: RotationOptions,
  log: Logger,
  madeBefore = identity.certificatesMade,
): Promise<CertificateRotated> {
  if (isDryRun) {
    await identity.reload();
  } else if (isForced) {
    await identity.renewCertificate();
  } else {
    await identity.refresh();
  }
  const isRotated = isDryRun ? isForced || identity.isRenewalDue() : identity.certificatesMade > madeBefore;
  const { serialNumber, notAfter } = identity.issuer().certificate;
  const outcome = { nodeId: identity.id, isRotated, isDryRun, serialNumber, notAfter: isoDate(notAfter) };
  if (isRotated && !isDryRun) {
    log.info(outcome, 'Certificate rotated by order of the operator');
  }
  return outcome;
}

/**
 * Makes a further identity key, which issues from then on; not within a day of the last time, unless forced.
 *
 * @throws GatewayError IDENTITY_KEY_MISSING; StoreError; Error when the keys' keeper makes none
 */
export async function rotateKey(
  identity: Identity,
  { isForced, isDryRun }: RotationOptions,
  log: Logger,
): Promise<KeyRotated> {
  if (isDryRun) {
    await identity.reload();
  }
  const isRotated = isDryRun ? isForced || identity.isRotationWelcome() : await identity.rotateKey({ isForced });
  const outcome = { isRotated, isDryRun, keys: reportKeys(identity) };
  if (isRotated && !isDryRun) {
    const nodeIds = outcome.keys.map(({ nodeId }) => nodeId);
    log.info(
      { nodeId: nodeIds.at(-1), earlier: nodeIds.slice(0, -1) },
      'Identity key rotated by order of the operator',
    );
  }
  return outcome;
}

/** The keys that are served, oldest first. */
export function reportKeys(identity: Identity): OwnKeyReport[] {
  const issuing = identity.issuingKey();
  return identity.allKeys().map((key) => ({
    nodeId: key.publicKey.nodeId,
    created: isoDate(key.created),
    ...(key === issuing
      ? { state: 'issues' }
      : key.number > issuing.number
        ? { state: 'waits', issuesFrom: isoDate(key.issuesFrom) }
        : { state: 'served', ...(key.end !== undefined && { end: isoDate(key.end) }) }),
  }));
}

function isoDate(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
