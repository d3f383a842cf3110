/** Keeps a certificate: gets one where there is none, and another when a third of its life is left. */
import { CertificateFault } from './certificate-fault.ts';
import {
  accountKeyFile,
  type CertificateFiles,
  type PresentCertificate,
  presentOf,
  readOrMakeKey,
  readPresent,
  writeCertificate,
} from './certificate-files.ts';
import { openHttpChallenge } from './http-challenge.ts';

/** Authorities advise this part of the life; it goes for those of six days as for those of ninety. */
const RENEWED_WITH_LEFT = 1 / 3;

export interface CertificateWanted {
  readonly files: CertificateFiles;
  /** The domain name that it is for. */
  readonly name: string;
  readonly directoryUrl: string;
  readonly email: string | undefined;
  readonly areTermsAgreed: boolean;
  /** Where the authority's challenge is answered. */
  readonly challengeHost: string;
  readonly challengePort: number;
  /** Gets a new one, whatever is there. */
  readonly isForced: boolean;
  /** Gives milliseconds. */
  readonly now: () => number;
}

export interface CertificateKept {
  readonly outcome: 'kept' | 'obtained';
  /** Milliseconds. */
  readonly notAfter: number;
}

/** @throws CertificateFault; what was there before stays in place then */
export async function keepCertificate(wanted: CertificateWanted): Promise<CertificateKept> {
  const { files, name, now } = wanted;
  const present = await readPresent(files);
  if (present && !wanted.isForced && isGood(present, name, now())) {
    return { outcome: 'kept', notAfter: present.notAfter };
  }
  const key = await readOrMakeKey(files.keyFile);
  const accountKey = await readOrMakeKey(accountKeyFile(files));
  await using challenge = await openHttpChallenge(wanted.challengeHost, wanted.challengePort);
  // Loaded only here: it takes its time.
  const { orderCertificate } = await import('./acme.ts');
  const pem = await orderCertificate({ ...wanted, key, accountKey, challenge });
  const issued = presentOf(pem, key);
  if (!issued || !isGood(issued, name, now())) {
    throw new CertificateFault(
      'CERTIFICATE_WRONG',
      `The authority issued a certificate that is not for ${name}, its key and now`,
      "Look whether this machine's clock is right (timedatectl), or use another authority (ACME_DIRECTORY)",
    );
  }
  await writeCertificate(files, pem);
  return { outcome: 'obtained', notAfter: issued.notAfter };
}

/** For this name, and not yet to be renewed. */
function isGood({ certificate, notBefore, notAfter }: PresentCertificate, name: string, now: number): boolean {
  const isFor = certificate.checkHost(name, { subject: 'never' }) !== undefined;
  return isFor && now >= notBefore && notAfter - now > (notAfter - notBefore) * RENEWED_WITH_LEFT;
}
