/**
 * The TLS certificate and key of a server, read from two files and read again when they change.
 *
 * A renewed pair serves the connections that come after it; those that are open go on. A pair that does not work (half
 * written, mismatched, expired) is reported once, and the one before it stays in use.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type Server } from 'node:tls';
import type { Logger } from 'pino';

/** How often the files are looked at, in milliseconds. */
const DEFAULT_INTERVAL = 20_000;

export interface TlsFiles {
  /** PEM: the server's certificate, then any intermediate ones. */
  readonly certificateFile: string;
  /** PEM: its private key, not encrypted. */
  readonly keyFile: string;
}

interface Pair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class TlsCertificate {
  private readonly files: TlsFiles;
  private readonly log: Logger;
  private pair: Pair;
  /** What was last found in the files, good or bad, so that each fault is reported once. */
  private seen: Pair | undefined;
  private timer: NodeJS.Timeout | undefined;

  private constructor(files: TlsFiles, log: Logger, pair: Pair) {
    this.files = files;
    this.log = log;
    this.pair = pair;
    this.seen = pair;
  }

  /** @throws Error in one line, if the files cannot be read or do not belong together */
  static async open(files: TlsFiles, log: Logger): Promise<TlsCertificate> {
    const pair = await readPair(files);
    try {
      checkPair(pair);
    } catch (error) {
      throw new Error(`${files.certificateFile} and ${files.keyFile} cannot be used: ${(error as Error).message}`);
    }
    return new TlsCertificate(files, log, pair);
  }

  /** When the certificate in use ends, in milliseconds. */
  get expiry(): number {
    return Date.parse(new X509Certificate(this.pair.cert).validTo);
  }

  /** What TLS servers are made with. */
  get secureContext(): Pair & { minVersion: 'TLSv1.2'; maxVersion: 'TLSv1.3' } {
    return { ...this.pair, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' };
  }

  /** Looks at the files from time to time and gives `server` what is new and works. */
  follow(server: Server, interval: number = DEFAULT_INTERVAL): void {
    const look = async () => {
      await this.reload(server);
      // Not an interval: on a hung file system, looks would pile up.
      this.timer?.refresh();
    };
    this.timer = setTimeout(() => void look(), interval).unref();
  }

  /** Stops looking. */
  close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private async reload(server: Server): Promise<void> {
    const { certificateFile, keyFile } = this.files;
    try {
      const pair = await readPair(this.files);
      if (this.seen && areEqual(pair, this.seen)) {
        return;
      }
      this.seen = pair;
      const { validTo } = checkPair(pair);
      if (Date.parse(validTo) < Date.now()) {
        throw new Error(`Certificate expired on ${validTo}`);
      }
      this.pair = pair;
      server.setSecureContext(this.secureContext);
      this.log.info({ certificateFile, validTo }, 'TLS certificate reloaded');
    } catch (err) {
      this.log.warn({ err, certificateFile, keyFile }, 'TLS certificate or key cannot be used; keeping the one before');
    }
  }
}

async function readPair({ certificateFile, keyFile }: TlsFiles): Promise<Pair> {
  const [cert, key] = await Promise.all([readFile(certificateFile), readFile(keyFile)]);
  return { cert, key };
}

function checkPair(pair: Pair): X509Certificate {
  const certificate = new X509Certificate(pair.cert);
  if (!certificate.checkPrivateKey(createPrivateKey(pair.key))) {
    throw new Error('Key is not that of the certificate');
  }
  createSecureContext(pair);
  return certificate;
}

function areEqual(one: Pair, other: Pair): boolean {
  return one.cert.equals(other.cert) && one.key.equals(other.key);
}
