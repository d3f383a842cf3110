import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type BerElement, MAX_DEPTH, MAX_ELEMENTS, readBer, readBerHead } from '../../src/awala/asn1/reader.ts';
import { CONSTRUCTED, context, contextConstructed, Tag } from '../../src/awala/asn1/tags.ts';
import { readDateTime, readTime } from '../../src/awala/asn1/time.ts';
import { constructed, dateTime, integer, octetString, oid, primitive, sequence } from '../../src/awala/asn1/writer.ts';
import { AwalaError } from '../../src/awala/errors.ts';

/** What an encoding says: a primitive element's octets, or the elements within. */
type Tree = { readonly tag: number; readonly value: Buffer | readonly Tree[] };

/** How BER lets an element's length be told. */
type LengthForm = 'short' | 'padded' | 'indefinite';

type Encoded = { readonly tree: Tree; readonly bytes: Buffer };

const END_OF_CONTENTS = Buffer.alloc(2);

/** Encodes an element whose content is ready, in some length form. */
function encode(tag: number, content: Buffer, form: LengthForm): Buffer {
  if (form === 'indefinite') {
    return Buffer.concat([Buffer.from([tag, 0x80]), content, END_OF_CONTENTS]);
  }
  if (form === 'padded') {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(content.length);
    return Buffer.concat([Buffer.from([tag, 0x84]), length, content]);
  }
  return primitive(tag, content);
}

const primitiveTag = fc.constantFrom(
  Tag.INTEGER,
  Tag.OCTET_STRING,
  Tag.OID,
  Tag.VISIBLE_STRING,
  context(0),
  context(7),
);
const constructedTag = fc.constantFrom(Tag.SEQUENCE, Tag.SET, contextConstructed(0), contextConstructed(30));
const octets = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

const leaf: fc.Arbitrary<Encoded> = fc
  .tuple(primitiveTag, octets(200), fc.constantFrom<LengthForm>('short', 'padded'))
  .map(([tag, value, form]) => ({ tree: { tag, value }, bytes: encode(tag, value, form) }));

/** Any BER document with at most five levels. */
const document: fc.Arbitrary<Encoded> = fc.letrec<{ element: Encoded; branch: Encoded }>((tie) => ({
  element: fc.oneof({ maxDepth: 4 }, leaf, tie('branch')),
  branch: fc
    .tuple(
      constructedTag,
      fc.array(tie('element'), { maxLength: 4 }),
      fc.constantFrom<LengthForm>('short', 'padded', 'indefinite'),
    )
    .map(([tag, children, form]) => ({
      tree: { tag, value: children.map(({ tree }) => tree) },
      bytes: encode(tag, Buffer.concat(children.map(({ bytes }) => bytes)), form),
    })),
})).element;

/** Reads a whole document, every element of it. */
function readTree(bytes: Buffer): Tree {
  return treeOf(readBer(bytes));
}

function treeOf(element: BerElement): Tree {
  if (!element.isConstructed) {
    return { tag: element.tag, value: element.content };
  }
  const children: Tree[] = [];
  for (const cursor = element.children(); !cursor.atEnd; ) {
    children.push(treeOf(cursor.next()));
  }
  return { tag: element.tag, value: children };
}

/** Fails unless `action` either works or throws an AwalaError. */
function allowsOnlyAwalaErrors(action: () => unknown): void {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof AwalaError, String(error));
  }
}

function refuses(code: string, action: () => unknown): void {
  assert.throws(action, (error) => error instanceof AwalaError && error.code === code);
}

/** Everything that can be asked of an element. */
function askAll(element: BerElement): void {
  const questions = [
    () => element.tag,
    () => element.raw,
    () => element.content,
    () => element.boolean(),
    () => element.integerOctets(),
    () => element.unsignedOctets(),
    () => element.unsigned(),
    () => element.objectIdentifier(),
    () => element.bitString(),
    () => element.octets(),
    () => element.sequence(),
    () => element.only(),
    () => element.hasDerHeader,
    () => readTime(element),
    () => readDateTime(element),
  ];
  for (const question of questions) {
    allowsOnlyAwalaErrors(question);
  }
  if (element.isConstructed) {
    for (const cursor = element.children(); !cursor.atEnd; ) {
      askAll(cursor.next());
    }
  }
}

/** Bytes that count how often one of them is looked at. */
function counted(bytes: Buffer): { readonly bytes: Buffer; readonly looks: () => number } {
  let looks = 0;
  const proxy = new Proxy(bytes, {
    get(target, property) {
      if (typeof property === 'string' && /^\d+$/.test(property)) {
        looks++;
      }
      const value = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { bytes: proxy, looks: () => looks };
}

describe('BER reader', () => {
  it('reads back any document, whatever forms its lengths have', () => {
    fc.assert(
      fc.property(document, ({ tree, bytes }) => {
        assert.deepEqual(readTree(bytes), tree);
      }),
    );
  });

  it('gives each element the very octets that came in', () => {
    fc.assert(
      fc.property(fc.array(document, { maxLength: 5 }), (children) => {
        const cursor = readBer(sequence(...children.map(({ bytes }) => bytes))).children();
        for (const { bytes } of children) {
          const element = cursor.next();
          assert.deepEqual(element.raw, bytes);
          assert.ok(element.equals(bytes));
          assert.ok(!element.equals(Buffer.concat([bytes, bytes])));
          assert.ok(!element.equals(bytes.subarray(0, -1)));
        }
        cursor.finish();
      }),
    );
  });

  it('refuses any document that is cut short, wherever', () => {
    fc.assert(
      fc.property(document, ({ bytes }) => {
        for (let length = 0; length < bytes.length; length++) {
          refuses('ASN1_MALFORMED', () => readTree(bytes.subarray(0, length)));
        }
      }),
      { numRuns: 50 },
    );
  });

  it('refuses anything after the document', () => {
    fc.assert(
      fc.property(document, octets(4), ({ bytes }, more) => {
        fc.pre(more.length > 0);
        refuses('ASN1_MALFORMED', () => readBer(Buffer.concat([bytes, more])));
      }),
    );
  });

  it('throws nothing but AwalaError when bits are flipped', () => {
    fc.assert(
      fc.property(document, fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), ({ bytes }, flips) => {
        const damaged = Buffer.from(bytes);
        for (const flip of flips) {
          const at = (flip >> 3) % damaged.length;
          damaged[at] = (damaged[at] as number) ^ (1 << (flip & 7));
        }
        allowsOnlyAwalaErrors(() => askAll(readBer(damaged)));
      }),
      { numRuns: 1000 },
    );
  });

  it('throws nothing but AwalaError on random octets', () => {
    fc.assert(
      fc.property(octets(100), (bytes) => {
        allowsOnlyAwalaErrors(() => askAll(readBer(bytes)));
      }),
      { numRuns: 1000 },
    );
  });

  it('joins an OCTET STRING that is split at any place, in either form', () => {
    const value = Buffer.from(Array.from({ length: 40 }, (_, i) => i));
    for (let first = 0; first <= value.length; first++) {
      for (let second = first; second <= value.length; second++) {
        const segments = [value.subarray(0, first), value.subarray(first, second), value.subarray(second)];
        const content = Buffer.concat(segments.map(octetString));
        for (const form of ['short', 'indefinite'] as const) {
          const element = readBer(encode(Tag.OCTET_STRING | CONSTRUCTED, content, form));
          assert.deepEqual(element.octets(), value);
          assert.deepEqual(element.segments(), segments);
        }
      }
    }
  });

  it('joins segments that are segmented themselves', () => {
    const inner = constructed(Tag.OCTET_STRING, octetString(Buffer.from('b')), octetString(Buffer.from('c')));
    const element = readBer(constructed(Tag.OCTET_STRING, octetString(Buffer.from('a')), inner));
    assert.equal(element.octets().toString(), 'abc');
  });

  it('refuses segments that are not OCTET STRINGs', () => {
    const element = readBer(constructed(Tag.OCTET_STRING, octetString(Buffer.from('a')), integer(1)));
    refuses('ASN1_MALFORMED', () => element.octets());
  });

  it('refuses a primitive element of indefinite length', () => {
    refuses('ASN1_MALFORMED', () => readBer(Buffer.from('0480010000', 'hex')));
  });

  it('refuses tag numbers over 30 and lengths of more than four octets', () => {
    refuses('ASN1_MALFORMED', () => readBer(Buffer.from('1f1f00', 'hex')));
    refuses('ASN1_MALFORMED', () => readBer(Buffer.from('0485000000000100', 'hex')));
  });

  it('refuses an element that is longer than what holds it', () => {
    const element = readBer(Buffer.from('30043005040100', 'hex').subarray(0, 6));
    refuses('ASN1_MALFORMED', () => element.only());
  });

  for (const form of ['short', 'indefinite'] as const) {
    it(`reads ${MAX_DEPTH} levels (${form} lengths) and refuses one more`, () => {
      const nested = (levels: number) => {
        let bytes = encode(Tag.SEQUENCE, Buffer.alloc(0), form);
        for (let level = 0; level < levels; level++) {
          bytes = encode(Tag.SEQUENCE, bytes, form);
        }
        return bytes;
      };
      readTree(nested(MAX_DEPTH));
      refuses('ASN1_TOO_COMPLEX', () => readTree(nested(MAX_DEPTH + 1)));
      refuses('ASN1_TOO_COMPLEX', () => readTree(nested(100_000 / 4)));
    });
  }

  it(`refuses more than ${MAX_ELEMENTS} elements, however they are nested`, () => {
    const flat = (count: number) => sequence(Buffer.alloc(2 * count, Buffer.from('0500', 'hex')));
    readTree(flat(MAX_ELEMENTS - 1));
    refuses('ASN1_TOO_COMPLEX', () => readTree(flat(MAX_ELEMENTS)));
    const segments = constructed(Tag.OCTET_STRING, Buffer.alloc(2 * MAX_ELEMENTS, Buffer.from('0400', 'hex')));
    refuses('ASN1_TOO_COMPLEX', () => readBer(segments).octets());
    const open = encode(Tag.SEQUENCE, Buffer.alloc(2 * MAX_ELEMENTS, Buffer.from('0500', 'hex')), 'indefinite');
    refuses('ASN1_TOO_COMPLEX', () => readBer(open));
  });

  const shapes: Record<string, (size: number) => Buffer> = {
    'many elements': (size) => sequence(Buffer.alloc(2 * size, Buffer.from('0500', 'hex'))),
    'many elements in an indefinite one': (size) =>
      encode(Tag.SEQUENCE, Buffer.alloc(2 * size, Buffer.from('0500', 'hex')), 'indefinite'),
    'many empty indefinite elements in an indefinite one': (size) =>
      encode(Tag.SEQUENCE, Buffer.alloc(4 * size, Buffer.from('30800000', 'hex')), 'indefinite'),
    'many elements, 30 indefinite ones deep': (size) => {
      let bytes: Buffer = Buffer.alloc(2 * size, Buffer.from('0500', 'hex'));
      for (let level = 0; level < 30; level++) {
        bytes = encode(Tag.SEQUENCE, bytes, 'indefinite');
      }
      return bytes;
    },
    'many elements, 30 deep, indefinite and definite in turn': (size) => {
      let bytes: Buffer = Buffer.alloc(2 * size, Buffer.from('0500', 'hex'));
      for (let level = 0; level < 30; level++) {
        bytes = encode(Tag.SEQUENCE, bytes, level % 2 === 0 ? 'indefinite' : 'short');
      }
      return bytes;
    },
  };
  for (const [name, shape] of Object.entries(shapes)) {
    it(`looks at twice the octets when there is twice as much: ${name}`, () => {
      const cost = (size: number) => {
        const { bytes, looks } = counted(shape(size));
        readTree(bytes);
        return looks();
      };
      const [once, twice] = [cost(2000), cost(4000)];
      assert.ok(once > 2000);
      assert.ok(twice <= 2.05 * once, `${once} octets looked at, then ${twice}`);
    });
  }

  it('reads the head of a document and refuses to give what lies beyond it', () => {
    const bytes = sequence(integer(7), octetString(Buffer.alloc(5000, 1)));
    const fields = readBerHead(bytes.subarray(0, 20), bytes.length).sequence();
    assert.equal(fields.next(Tag.INTEGER).unsigned(), 7);
    const long = fields.last(Tag.OCTET_STRING);
    assert.equal(long.contentLength, 5000);
    assert.equal(long.contentStart, bytes.length - 5000);
    refuses('ASN1_MALFORMED', () => long.content);
    refuses('ASN1_MALFORMED', () => readBerHead(bytes.subarray(0, 5), bytes.length).sequence().next().unsigned());
  });
});

describe('BER values', () => {
  it('reads back integers', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(0xffff), (high, low) => {
        const value = high * 0x10000 + low;
        assert.equal(readBer(integer(value)).unsigned(), value);
      }),
    );
  });

  it('gives the shortest octets of an integer that has too many', () => {
    const padded = (hex: string) => readBer(primitive(Tag.INTEGER, Buffer.from(hex, 'hex')));
    assert.equal(padded('000000ff').integerOctets().toString('hex'), '00ff');
    assert.equal(padded('000000ff').unsignedOctets().toString('hex'), 'ff');
    assert.equal(padded('ffffff80').integerOctets().toString('hex'), '80');
    assert.equal(padded('0000').unsigned(), 0);
  });

  it('refuses integers that are negative, empty or over 48 bits where a number is due', () => {
    for (const hex of ['80', '', '01000000000000']) {
      refuses('ASN1_MALFORMED', () => readBer(primitive(Tag.INTEGER, Buffer.from(hex, 'hex'))).unsigned());
    }
  });

  it('reads back object identifiers', () => {
    const first = fc.oneof(fc.tuple(fc.nat(1), fc.nat(39)), fc.tuple(fc.constant(2), fc.nat(1000)));
    fc.assert(
      fc.property(first, fc.array(fc.nat(2 ** 31 - 1), { maxLength: 5 }), (start, rest) => {
        const dotted = [...start, ...rest].join('.');
        assert.equal(readBer(oid(dotted)).objectIdentifier(), dotted);
      }),
    );
  });

  it('refuses object identifiers that are empty, cut short, padded or without end', () => {
    for (const hex of ['', '2a86', '2a8001', `2a${'81'.repeat(7)}01`, '2a'.repeat(33)]) {
      refuses('ASN1_MALFORMED', () => readBer(primitive(Tag.OID, Buffer.from(hex, 'hex'))).objectIdentifier());
    }
  });

  it('reads dates of the protocol and of certificates', () => {
    const date = fc.date({ min: new Date('1950-01-01'), max: new Date('2049-12-31T23:59:59Z'), noInvalidDate: true });
    fc.assert(
      fc.property(date, (exact) => {
        const seconds = Math.floor(exact.getTime() / 1000) * 1000;
        const written = readBer(dateTime(new Date(seconds), context(2)));
        assert.equal(readDateTime(written), seconds);
        const digits = written.content.toString();
        const generalized = primitive(Tag.GENERALIZED_TIME, Buffer.from(`${digits}Z`));
        assert.equal(readTime(readBer(generalized)), seconds);
        const utc = primitive(Tag.UTC_TIME, Buffer.from(`${digits.slice(2)}Z`));
        assert.equal(readTime(readBer(utc)), seconds);
      }),
    );
  });

  it('refuses dates that do not exist or have another form', () => {
    const texts = ['20260230000000', '20251301000000', '20260001000000', '20260100000000', '20260101240000'];
    for (const text of [
      ...texts,
      '20260101006000',
      '20260101000060',
      '2026010100000',
      '202601010000000',
      '2026010100000Z',
    ]) {
      refuses('ASN1_MALFORMED', () => readDateTime(readBer(primitive(context(2), Buffer.from(text)))));
    }
    for (const text of ['260101000000', '2601010000Z', '260101000000+0000', '2602290000000Z', '260229000000Z']) {
      refuses('ASN1_MALFORMED', () => readTime(readBer(primitive(Tag.UTC_TIME, Buffer.from(text)))));
    }
    assert.equal(readTime(readBer(primitive(Tag.UTC_TIME, Buffer.from('280229000000Z')))), Date.UTC(2028, 1, 29));
  });
});
