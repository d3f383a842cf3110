/**
 * Reads BER (X.690) without copying.
 *
 * Elements are views of the bytes that came in, so that what was signed is what is verified. Indefinite lengths and
 * constructed strings are read, since deployed clients send both (RS-001 says DER; see protocol section 3). Nothing
 * recurses over the input and each octet's header is looked at a bounded number of times, so the cost is linear.
 */
import { AwalaError } from '../errors.ts';
import { CONSTRUCTED, Tag } from './tags.ts';

/** The most elements (headers read) in one document: an 8 MiB string in 1,000-octet segments, seven times over. */
export const MAX_ELEMENTS = 65_536;

/** The deepest nesting in one document; a parcel's certificate goes about 12 deep. */
export const MAX_DEPTH = 32;

const INDEFINITE = -1;

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
    const length = this.contentLength(start, contentStart);
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

  /** Checks the header at `start` and says where it ends. */
  private contentStart(start: number, limit: number): number {
    if (--this.budget < 0) {
      throw new AwalaError('ASN1_TOO_COMPLEX', `ASN.1 has more than ${MAX_ELEMENTS} elements`);
    }
    const { bytes } = this;
    if (start + 2 > limit) {
      throw malformed(start, 'header is cut short');
    }
    const tag = bytes[start] as number;
    if ((tag & 0x1f) === 0x1f) {
      throw malformed(start, 'tag numbers over 30 are not used by the protocol');
    }
    const first = bytes[start + 1] as number;
    if (first < 0x80) {
      return start + 2;
    }
    if (first === 0x80) {
      if ((tag & CONSTRUCTED) === 0) {
        throw malformed(start, 'primitive element has an indefinite length');
      }
      return start + 2;
    }
    const octets = first & 0x7f;
    if (octets > 4) {
      throw malformed(start, 'length takes more than 4 octets');
    }
    const contentStart = start + 2 + octets;
    if (contentStart > limit) {
      throw malformed(start, 'header is cut short');
    }
    return contentStart;
  }

  /** The length that the (already checked) header at `start` tells, or `INDEFINITE`. */
  private contentLength(start: number, contentStart: number): number {
    const { bytes } = this;
    const first = bytes[start + 1] as number;
    if (first < 0x80) {
      return first;
    }
    if (first === 0x80) {
      return INDEFINITE;
    }
    let length = 0;
    for (let at = start + 2; at < contentStart; at++) {
      length = length * 256 + (bytes[at] as number);
    }
    return length;
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
      const length = this.contentLength(at, inner);
      if (length === INDEFINITE) {
        open.push(inner);
        if (depth + open.length > MAX_DEPTH) {
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
  private readonly contentStart: number;
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
    return this.source.bytes.subarray(this.start, this.end);
  }

  /** The contents octets, without header and end-of-contents. */
  get content(): Buffer {
    return this.source.bytes.subarray(this.contentStart, this.contentEnd);
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
  const cursor = new BerCursor(new Source(bytes), 0, bytes.length, 0);
  const element = cursor.next(tag);
  cursor.finish();
  return element;
}

function hex(tag: number): string {
  return tag < 0 ? 'none' : tag.toString(16).padStart(2, '0');
}

function malformed(offset: number, reason: string): AwalaError {
  return new AwalaError('ASN1_MALFORMED', `ASN.1 at octet ${offset}: ${reason}`);
}
