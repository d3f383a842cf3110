/**
 * Reads BER (X.690) without copying.
 *
 * Elements are views of the bytes that came in, so that what was signed is what is verified. Indefinite lengths and
 * constructed strings are read, since deployed clients send both (RS-001 says DER; see protocol section 3). Nothing
 * recurses over the input and each octet's header is looked at a bounded number of times, so the cost is linear.
 */
import { AwalaError } from '../errors.ts';
import { headerEnd, headerLength, INDEFINITE } from './header.ts';
import { hex, malformed } from './malformed.ts';
import { readArcs, shortestInteger } from './primitives.ts';
import { CONSTRUCTED, Tag } from './tags.ts';

/** The most elements (headers read) in one document: an 8 MiB string in 1,000-octet segments, seven times over. */
export const MAX_ELEMENTS = 65_536;

/** The deepest nesting in one document; a parcel's certificate goes about 12 deep. */
export const MAX_DEPTH = 32;

/** State shared by all elements of one document. */
class Source {
  readonly bytes: Buffer;
  private budget = MAX_ELEMENTS;
  /** Where the contents of indefinite-length elements end, by where their contents start; filled by one scan. */
  private contentEnds: Map<number, number> | undefined;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Reads the element whose identifier octet is at `start` and which must end by `limit`. */
  element(start: number, limit: number, depth: number): BerElement {
    if (depth > MAX_DEPTH) {
      throw new AwalaError('ASN1_TOO_COMPLEX', `ASN.1 is nested more than ${MAX_DEPTH} deep`);
    }
    const contentStart = this.contentStart(start, limit);
    const length = headerLength(this.bytes, start, contentStart);
    if (length !== INDEFINITE) {
      const end = contentStart + length;
      if (end > limit) {
        throw malformed(start, 'element is longer than what holds it');
      }
      return new BerElement(this, start, contentStart, end, end, depth);
    }
    const contentEnd = this.contentEnds?.get(contentStart) ?? this.scan(contentStart, limit, depth);
    if (contentEnd + 2 > limit) {
      throw malformed(start, 'element is longer than what holds it');
    }
    return new BerElement(this, start, contentStart, contentEnd, contentEnd + 2, depth);
  }

  view(start: number, end: number): Buffer {
    if (end > this.bytes.length) {
      throw malformed(start, 'element is longer than what was read');
    }
    return this.bytes.subarray(start, end);
  }

  /** Takes one element from the budget, checks its header and says where that ends. */
  private contentStart(start: number, limit: number): number {
    if (--this.budget < 0) {
      throw new AwalaError('ASN1_TOO_COMPLEX', `ASN.1 has more than ${MAX_ELEMENTS} elements`);
    }
    return headerEnd(this.bytes, start, limit);
  }

  /**
   * Finds the end of the indefinite-length contents at `contentStart` and, on the way, of all those nested directly
   * within: each is scanned once however deep it lies.
   */
  private scan(contentStart: number, limit: number, depth: number): number {
    const { bytes } = this;
    this.contentEnds ??= new Map();
    const open = [contentStart];
    let at = contentStart;
    for (;;) {
      if (at + 2 > limit) {
        throw malformed(contentStart, 'indefinite-length element is not closed');
      }
      if (bytes[at] === 0 && bytes[at + 1] === 0) {
        const closed = open.pop() as number;
        this.contentEnds.set(closed, at);
        if (open.length === 0) {
          return at;
        }
        at += 2;
        continue;
      }
      const inner = this.contentStart(at, limit);
      const length = headerLength(bytes, at, inner);
      if (length === INDEFINITE) {
        open.push(inner);
        if (depth + open.length - 1 > MAX_DEPTH) {
          throw new AwalaError('ASN1_TOO_COMPLEX', `ASN.1 is nested more than ${MAX_DEPTH} deep`);
        }
        at = inner;
      } else {
        at = inner + length;
      }
    }
  }
}

/** One element: a view of the document's bytes. */
export class BerElement {
  private readonly source: Source;
  private readonly start: number;
  /** Where the contents start, in octets from the start of the document. */
  readonly contentStart: number;
  private readonly contentEnd: number;
  /** Where the next element starts. */
  readonly end: number;
  private readonly depth: number;

  constructor(source: Source, start: number, contentStart: number, contentEnd: number, end: number, depth: number) {
    this.source = source;
    this.start = start;
    this.contentStart = contentStart;
    this.contentEnd = contentEnd;
    this.end = end;
    this.depth = depth;
  }

  /** The identifier octet: class, constructed bit and number. */
  get tag(): number {
    return this.source.bytes[this.start] as number;
  }

  get isConstructed(): boolean {
    return (this.tag & CONSTRUCTED) !== 0;
  }

  /** True when the length is told by end-of-contents octets instead of the header: BER, not DER. */
  get isIndefinite(): boolean {
    return this.source.bytes[this.start + 1] === 0x80;
  }

  /** The whole element, header included: the very bytes that came in. */
  get raw(): Buffer {
    return this.source.view(this.start, this.end);
  }

  /** The contents octets, without header and end-of-contents. */
  get content(): Buffer {
    return this.source.view(this.contentStart, this.contentEnd);
  }

  /** Whether the whole element consists of just these octets. */
  equals(octets: Uint8Array): boolean {
    const length = this.end - this.start;
    // A loop: for the short elements that are compared, it takes less time than a view of them.
    const { bytes } = this.source;
    for (let at = 0; at < length; at++) {
      if (bytes[this.start + at] !== octets[at]) {
        return false;
      }
    }
    return length === octets.length;
  }

  /** Whether the header is DER: a definite length, in the shortest form. */
  get hasDerHeader(): boolean {
    const first = this.source.bytes[this.start + 1] as number;
    if (first < 0x80) {
      return true;
    }
    const octets = first & 0x7f;
    return first !== 0x80 && this.contentLength >= (octets === 1 ? 0x80 : 256 ** (octets - 1));
  }

  /** The number of contents octets. */
  get contentLength(): number {
    return this.contentEnd - this.contentStart;
  }

  /** A cursor over the elements within. */
  children(): BerCursor {
    if (!this.isConstructed) {
      throw malformed(this.start, 'element is primitive where a constructed one is due');
    }
    return new BerCursor(this.source, this.contentStart, this.contentEnd, this.depth + 1);
  }

  /** A cursor over the fields of a SEQUENCE. */
  sequence(): BerCursor {
    this.expect(Tag.SEQUENCE);
    return this.children();
  }

  /** The one element within: what an explicit tag holds, or a list of one. */
  only(tag?: number): BerElement {
    return this.children().last(tag);
  }

  /** The value of a BOOLEAN, whatever its tag. */
  boolean(): boolean {
    if (this.isConstructed || this.contentLength !== 1) {
      throw malformed(this.start, 'BOOLEAN is not one octet');
    }
    return this.source.bytes[this.contentStart] !== 0;
  }

  /** The contents octets of an INTEGER, whatever its tag, in the shortest form (two's complement). */
  integerOctets(): Buffer {
    if (this.isConstructed || this.contentLength === 0) {
      throw malformed(this.start, 'INTEGER has no octets');
    }
    return shortestInteger(this.content);
  }

  /** The magnitude of an INTEGER that is not negative, whatever its tag: big-endian, no leading zero unless it is 0. */
  unsignedOctets(): Buffer {
    const octets = this.integerOctets();
    const [first = 0] = octets;
    if (first >= 0x80) {
      throw malformed(this.start, 'INTEGER is negative');
    }
    return first === 0 && octets.length > 1 ? octets.subarray(1) : octets;
  }

  /** An INTEGER from 0 to 2^48 - 1, whatever its tag. */
  unsigned(): number {
    // Nearly all are as short as this, and need no view of their octets.
    const first = this.source.bytes[this.contentStart];
    if (this.contentLength === 1 && !this.isConstructed && first !== undefined && first < 0x80) {
      return first;
    }
    const octets = this.unsignedOctets();
    if (octets.length > 6) {
      throw malformed(this.start, 'INTEGER is too large');
    }
    return octets.readUIntBE(0, octets.length);
  }

  /** An OBJECT IDENTIFIER, whatever its tag, in dotted form. To compare with a known one, `equals` is faster. */
  objectIdentifier(): string {
    if (this.isConstructed) {
      throw malformed(this.start, 'OBJECT IDENTIFIER is constructed');
    }
    return readArcs(this.content, this.start);
  }

  /** The octets of a primitive BIT STRING of whole octets, whatever its tag. */
  bitString(): Buffer {
    if (this.isConstructed || this.contentLength === 0 || this.source.bytes[this.contentStart] !== 0) {
      throw malformed(this.start, 'BIT STRING is not primitive or not made of whole octets');
    }
    return this.source.view(this.contentStart + 1, this.contentEnd);
  }

  /**
   * The value of a string type, whatever its tag: the contents themselves when primitive (a view), the joined segments
   * when constructed (a view when there is one segment, else a copy).
   */
  octets(): Buffer {
    const segments = this.segments();
    return segments.length === 1 ? (segments[0] as Buffer) : Buffer.concat(segments);
  }

  /** As `octets`, unjoined, so that a long string can be hashed without a copy. */
  segments(): Buffer[] {
    if (!this.isConstructed) {
      return [this.content];
    }
    // Segments may themselves be constructed (X.690, 8.7.3.2): an explicit stack keeps this from recursing.
    const segments: Buffer[] = [];
    const stack = [this.children()];
    for (let cursor = stack.at(-1); cursor; cursor = stack.at(-1)) {
      if (cursor.atEnd) {
        stack.pop();
        continue;
      }
      const segment = cursor.next();
      if ((segment.tag & ~CONSTRUCTED) !== Tag.OCTET_STRING) {
        throw malformed(segment.start, 'segment of a constructed string is not an OCTET STRING');
      }
      if (segment.isConstructed) {
        stack.push(segment.children());
      } else {
        segments.push(segment.content);
      }
    }
    return segments;
  }

  private expect(tag: number): void {
    if (this.tag !== tag) {
      throw malformed(this.start, `expected tag 0x${hex(tag)}, found 0x${hex(this.tag)}`);
    }
  }
}

/** Walks the elements of one constructed element in order. */
export class BerCursor {
  private readonly source: Source;
  private readonly end: number;
  private readonly depth: number;
  private at: number;

  constructor(source: Source, start: number, end: number, depth: number) {
    this.source = source;
    this.at = start;
    this.end = end;
    this.depth = depth;
  }

  get atEnd(): boolean {
    return this.at >= this.end;
  }

  /** The identifier octet of the next element; -1 at the end. */
  get tag(): number {
    return this.atEnd ? -1 : (this.source.bytes[this.at] as number);
  }

  /**
   * Takes the next element.
   *
   * @param tag its identifier octet, if only one will do
   * @throws AwalaError ASN1_MALFORMED when there is none or its tag is another
   */
  next(tag?: number): BerElement {
    if (this.atEnd) {
      throw malformed(this.at, 'an element is missing');
    }
    if (tag !== undefined && this.tag !== tag) {
      throw malformed(this.at, `expected tag 0x${hex(tag)}, found 0x${hex(this.tag)}`);
    }
    const element = this.source.element(this.at, this.end, this.depth);
    this.at = element.end;
    return element;
  }

  /** Takes the next element if its identifier octet is `tag`. */
  optional(tag: number): BerElement | undefined {
    return this.tag === tag ? this.next() : undefined;
  }

  /** Takes the next element if it is the string type with (primitive) identifier octet `tag`, primitive or constructed. */
  string(tag: number): BerElement {
    if (this.tag !== tag && this.tag !== (tag | CONSTRUCTED)) {
      throw malformed(this.at, `expected tag 0x${hex(tag)}, found 0x${hex(this.tag)}`);
    }
    return this.next();
  }

  /** Takes the next element, which must be the last. */
  last(tag?: number): BerElement {
    const element = this.next(tag);
    this.finish();
    return element;
  }

  /** Ends a type that has no room for further elements. */
  finish(): void {
    if (!this.atEnd) {
      throw malformed(this.at, 'unexpected element at the end');
    }
  }
}

/**
 * Reads the one element that `bytes` consist of; what follows it is refused.
 *
 * @throws AwalaError ASN1_MALFORMED, ASN1_TOO_COMPLEX
 */
export function readBer(bytes: Buffer, tag?: number): BerElement {
  return readBerHead(bytes, bytes.length, tag);
}

/**
 * As `readBer`, when only the first octets of a document are in one piece: what lies in the head can be read; of what
 * reaches beyond it, only the header.
 *
 * @param length of the whole document, in octets
 * @throws AwalaError ASN1_MALFORMED, ASN1_TOO_COMPLEX
 */
export function readBerHead(head: Buffer, length: number, tag?: number): BerElement {
  return new BerCursor(new Source(head), 0, length, 0).last(tag);
}
