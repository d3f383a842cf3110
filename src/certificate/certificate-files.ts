/**
 * The files of a TLS certificate from an authority: the certificate, its key, and beside them the key of the account.
 *
 * The key is made once and kept, so that a renewal puts one file into the place of another: at no time is there a
 * certificate beside a key that is not its own.
 */
import { createPrivateKey, generateKeyPairSync, randomUUID, X509Certificate } from 'node:crypto';
import { chown, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { CertificateFault } from './certificate-fault.ts';

const SECRET = 0o600;
const READABLE = 0o644;
const FOLDER = 0o700;

export interface CertificateFiles {
  /** PEM: the certificate, then the intermediate ones. */
  readonly certificateFile: string;
  /** PEM: its private key. */
  readonly keyFile: string;
}

/** A certificate that is there and belongs to its key. */
export interface PresentCertificate {
  readonly certificate: X509Certificate;
  /** Milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** @returns undefined where there is none, or one that is of no use with the key */
export async function readPresent({
  certificateFile,
  keyFile,
}: CertificateFiles): Promise<PresentCertificate | undefined> {
  const [pem, keyPem] = await Promise.all([readIfThere(certificateFile), readIfThere(keyFile)]);
  return pem && keyPem ? presentOf(pem, keyPem) : undefined;
}

/** @returns undefined where the two are not PEM or do not belong together */
export function presentOf(pem: string, keyPem: string): PresentCertificate | undefined {
  try {
    const certificate = new X509Certificate(pem);
    if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) {
      return undefined;
    }
    return {
      certificate,
      notBefore: Date.parse(certificate.validFrom),
      notAfter: Date.parse(certificate.validTo),
    };
  } catch {
    return undefined;
  }
}

/** Where the account's key is: beside the certificate's, since it is as secret. */
export function accountKeyFile({ keyFile }: CertificateFiles): string {
  return path.join(path.dirname(keyFile), 'account-key.pem');
}

/** The key in this file, in PEM; a new one on P-256 where there is none. @throws CertificateFault FILES_UNUSABLE */
export async function readOrMakeKey(file: string): Promise<string> {
  const present = await readIfThere(file);
  if (present !== undefined) {
    return present;
  }
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  await replace(file, pem, SECRET);
  return pem;
}

/** Puts the certificate into place, whole or not at all. @throws CertificateFault FILES_UNUSABLE */
export async function writeCertificate({ certificateFile }: CertificateFiles, pem: string): Promise<void> {
  await replace(certificateFile, pem, READABLE);
}

/** The file belongs to whom its folder belongs to, also where root writes it. */
async function replace(file: string, text: string, mode: number): Promise<void> {
  const folder = path.dirname(file);
  const temporary = path.join(folder, `.${path.basename(file)}.${randomUUID()}`);
  try {
    await mkdir(folder, { recursive: true, mode: FOLDER });
    const owner = await stat(folder);
    await using handle = await open(temporary, 'wx', mode);
    await handle.writeFile(text);
    if (process.getuid?.() === 0) {
      await chown(temporary, owner.uid, owner.gid);
    }
    await handle.sync();
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw unusable(file, error);
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return undefined;
    }
    throw unusable(file, error);
  }
}

function unusable(file: string, error: unknown): CertificateFault {
  return new CertificateFault(
    'FILES_UNUSABLE',
    `${file} cannot be used: ${(error as Error).message}`,
    'Run it as root or as the user of the gateway, and look whether the disk is full',
    { cause: error },
  );
}
