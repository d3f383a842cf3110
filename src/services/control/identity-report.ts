/** What a person or a program asks of a gateway's identity: its node id, its certificates, its connection parameters. */
import type { ConnectionParams } from '../../gateway/connection-params.ts';
import type { Identity } from '../../gateway/identity.ts';
import { type OwnKeyReport, reportKeys } from './identity-orders.ts';

/** JSON; dates are in ISO 8601. */
export interface IdentityReport {
  readonly internetAddress: string;
  /** Of the key that issues certificates. */
  readonly nodeId: string;
  /** Those that are served, oldest first. */
  readonly keys: readonly OwnKeyReport[];
  readonly certificates: readonly OwnCertificateReport[];
  /** Serialized connection parameters, in base64. */
  readonly connectionParams: string;
}

export interface OwnCertificateReport {
  readonly nodeId: string;
  readonly serialNumber: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** Whether what this gateway issues now is issued under this one. */
  readonly issues: boolean;
}

/** @throws StoreError */
export async function reportIdentity(identity: Identity, connectionParams: ConnectionParams): Promise<IdentityReport> {
  const issuer = identity.issuer().certificate;
  return {
    internetAddress: identity.internetAddress,
    nodeId: identity.id,
    keys: reportKeys(identity),
    certificates: identity.allCertificates().map((certificate) => ({
      nodeId: certificate.subjectId,
      serialNumber: certificate.serialNumber,
      notBefore: new Date(certificate.notBefore).toISOString(),
      notAfter: new Date(certificate.notAfter).toISOString(),
      issues: certificate === issuer,
    })),
    connectionParams: (await connectionParams.current()).toString('base64'),
  };
}
