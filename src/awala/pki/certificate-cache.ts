/**
 * Certificates that were read and verified before, by their exact bytes: the next message that carries one need not
 * read it, import its key or check its issuer's signature again. Dates are not remembered: they are checked each time.
 *
 * A stranger must not be able to push out the certificates that are in use. So only certificates on a verified path
 * come in; and a new one must be met again before it counts among the `frequent`, which newcomers never push out.
 */
import { type Certificate, readCertificate } from './certificate.ts';

/** Octets that an entry takes beside the certificate's own: objects, and the key inside OpenSSL. */
const ENTRY_OVERHEAD = 4096;

/** The part of the room, in percent, that certificates met more than once may fill. */
const FREQUENT_SHARE = 80;

/** Octets of a certificate's end that the table is keyed by: part of its signature, and as good as random. */
const KEY_LENGTH = 16;

export class CertificateCache {
  private readonly recent: Segment;
  private readonly frequent: Segment;

  /** @param maxOctets about how much memory it may take; 64 MiB holds some 13,000 certificates */
  constructor(maxOctets: number = 64 * 1024 * 1024) {
    const frequent = Math.floor((maxOctets * FREQUENT_SHARE) / 100);
    this.frequent = new Segment(frequent);
    this.recent = new Segment(maxOctets - frequent);
  }

  /** How many certificates it holds. */
  get size(): number {
    return this.recent.size + this.frequent.size;
  }

  /**
   * Reads a certificate, or finds what was read of the same bytes before.
   *
   * @param bytes DER; not kept
   * @throws AwalaError as `readCertificate`
   */
  read(bytes: Buffer): Certificate {
    const key = keyOf(bytes);
    const frequent = this.frequent.get(key, bytes);
    if (frequent) {
      return frequent;
    }
    const recent = this.recent.get(key, bytes);
    if (!recent) {
      // A copy, since the bytes may be a small part of a large message, which would stay in memory with them.
      return readCertificate(ownCopy(bytes));
    }
    this.recent.delete(key);
    for (const demoted of this.frequent.add(key, recent)) {
      this.recent.add(keyOf(demoted.raw), demoted);
    }
    return recent;
  }

  /** Keeps a certificate. The caller has verified that a path leads from it to a trusted certificate. */
  remember(certificate: Certificate): void {
    const key = keyOf(certificate.raw);
    if (!this.frequent.get(key, certificate.raw) && !this.recent.get(key, certificate.raw)) {
      this.recent.add(key, certificate);
    }
  }
}

/** A table that drops what was used least recently when it is full. */
class Segment {
  private readonly maxOctets: number;
  private octets = 0;
  /** In order of use: a Map keeps the order of insertion. */
  private readonly entries = new Map<string, Certificate>();

  constructor(maxOctets: number) {
    this.maxOctets = maxOctets;
  }

  get size(): number {
    return this.entries.size;
  }

  get(key: string, bytes: Buffer): Certificate | undefined {
    const found = this.entries.get(key);
    if (!found?.raw.equals(bytes)) {
      return undefined;
    }
    this.entries.delete(key);
    this.entries.set(key, found);
    return found;
  }

  /** Adds an entry and gives those that had to leave for it. */
  add(key: string, certificate: Certificate): Certificate[] {
    this.delete(key);
    this.entries.set(key, certificate);
    this.octets += cost(certificate);
    const left: Certificate[] = [];
    for (const [oldestKey, oldest] of this.entries) {
      if (this.octets <= this.maxOctets) {
        break;
      }
      this.delete(oldestKey);
      left.push(oldest);
    }
    return left;
  }

  delete(key: string): void {
    const entry = this.entries.get(key);
    if (entry) {
      this.entries.delete(key);
      this.octets -= cost(entry);
    }
  }
}

function cost(certificate: Certificate): number {
  return certificate.raw.length + ENTRY_OVERHEAD;
}

function keyOf(bytes: Buffer): string {
  return bytes.toString('latin1', Math.max(0, bytes.length - KEY_LENGTH));
}

function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
