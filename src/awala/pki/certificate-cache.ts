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
  /** Those in either segment: the very objects, found without a look at their bytes. */
  private readonly held = new Set<Certificate>();

  /** @param maxOctets about how much memory it may take; 64 MiB holds some 13,000 certificates */
  constructor(maxOctets: number = 64 * 1024 * 1024) {
    const frequent = Math.floor((maxOctets * FREQUENT_SHARE) / 100);
    this.frequent = new Segment(frequent);
    this.recent = new Segment(maxOctets - frequent);
  }

  /** How many certificates it holds. */
  get size(): number {
    return this.held.size;
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
      this.addRecent(keyOf(demoted.raw), demoted);
    }
    return recent;
  }

  /** Keeps a certificate. The caller has verified that a path leads from it to a trusted certificate. */
  remember(certificate: Certificate): void {
    if (this.held.has(certificate)) {
      return;
    }
    const key = keyOf(certificate.raw);
    if (!this.frequent.get(key, certificate.raw) && !this.recent.get(key, certificate.raw)) {
      this.held.add(certificate);
      this.addRecent(key, certificate);
    }
  }

  private addRecent(key: string, certificate: Certificate): void {
    for (const dropped of this.recent.add(key, certificate)) {
      this.held.delete(dropped);
    }
  }
}

interface Entry {
  readonly certificate: Certificate;
  /** Since it last was the oldest. */
  isUsed: boolean;
}

/**
 * A table that drops the oldest when it is full, unless it was used: that one is spared once and then counts as the
 * newest. So a look at an entry changes nothing but a mark, where exact order would have the table rebuilt over and over.
 */
class Segment {
  private readonly maxOctets: number;
  private octets = 0;
  /** Oldest first: a Map keeps the order of insertion. */
  private readonly entries = new Map<string, Entry>();

  constructor(maxOctets: number) {
    this.maxOctets = maxOctets;
  }

  get(key: string, bytes: Buffer): Certificate | undefined {
    const found = this.entries.get(key);
    if (!found?.certificate.raw.equals(bytes)) {
      return undefined;
    }
    found.isUsed = true;
    return found.certificate;
  }

  /** Adds an entry and gives those that had to leave for it, another under the same key among them. */
  add(key: string, certificate: Certificate): Certificate[] {
    const left: Certificate[] = [];
    const former = this.delete(key);
    if (former) {
      left.push(former.certificate);
    }
    // Spared while room is made for it.
    const added = { certificate, isUsed: true };
    this.insert(key, added);
    for (const [oldestKey, oldest] of this.entries) {
      if (this.octets <= this.maxOctets) {
        break;
      }
      this.delete(oldestKey);
      if (oldest.isUsed) {
        oldest.isUsed = false;
        this.insert(oldestKey, oldest);
      } else {
        left.push(oldest.certificate);
      }
    }
    added.isUsed = false;
    return left;
  }

  delete(key: string): Entry | undefined {
    const entry = this.entries.get(key);
    if (entry) {
      this.entries.delete(key);
      this.octets -= cost(entry.certificate);
    }
    return entry;
  }

  private insert(key: string, entry: Entry): void {
    this.entries.set(key, entry);
    this.octets += cost(entry.certificate);
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
