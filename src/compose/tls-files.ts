/** Configuration to objects: the files of the TLS certificate. */
import type { Config } from '../config.ts';
import type { TlsFiles } from '../services/http/tls-certificate.ts';

/** The files that all doors serve TLS with; undefined where they do not. */
export function tlsFiles({ tlsCertificateFile, tlsKeyFile }: Config): TlsFiles | undefined {
  return tlsCertificateFile && tlsKeyFile ? { certificateFile: tlsCertificateFile, keyFile: tlsKeyFile } : undefined;
}
