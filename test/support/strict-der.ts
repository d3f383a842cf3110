/**
 * Checks that octets are DER (X.690), by a reader of its own, so that a fault of ours does not hide itself.
 */
import assert from 'node:assert/strict';

const BOOLEAN = 0x01;
const INTEGER = 0x02;
const SEQUENCE = 0x30;
const SET = 0x31;

/**
 * Fails unless `octets` are one DER element: shortest definite lengths, primitive strings, sorted sets.
 *
 * @param foreign elements that somebody else wrote and signed, to be found as they are and not looked into: the
 *   JavaScript library writes one serial number in 512 with an octet too many
 */
export function assertDer(octets: Buffer, foreign: readonly Buffer[] = []): void {
  const element = readElement(octets, 0, foreign);
  assert.equal(element.end, octets.length, 'octets follow the element');
}

interface Element {
  readonly start: number;
  readonly end: number;
}

function readElement(octets: Buffer, start: number, foreign: readonly Buffer[]): Element {
  const tag = octets[start] as number;
  assert.notEqual(tag & 0x1f, 0x1f, 'long tags are not used');
  let contentStart = start + 2;
  let length = octets[start + 1] as number;
  if (length >= 0x80) {
    const count = length & 0x7f;
    assert.ok(count >= 1 && count <= 4, `length at ${start} is indefinite or too long`);
    length = octets.readUIntBE(contentStart, count);
    contentStart += count;
    assert.ok(length >= 0x80 && length >= 256 ** (count - 1), `length at ${start} is not the shortest`);
  }
  const end = contentStart + length;
  assert.ok(end <= octets.length, `element at ${start} is cut short`);

  if (foreign.some((element) => element.equals(octets.subarray(start, end)))) {
    return { start, end };
  }
  const isUniversal = (tag & 0xc0) === 0;
  const isConstructed = (tag & 0x20) !== 0;
  if (isUniversal) {
    const mustBeConstructed = tag === SEQUENCE || tag === SET;
    assert.equal(isConstructed, mustBeConstructed, `tag 0x${tag.toString(16)} at ${start} is in the wrong form`);
    assertValue(tag, octets.subarray(contentStart, end));
  }
  if (isConstructed) {
    const children: Element[] = [];
    for (let at = contentStart; at < end; at = (children.at(-1) as Element).end) {
      children.push(readElement(octets, at, foreign));
    }
    assert.equal(children.at(-1)?.end ?? contentStart, end, `element at ${start} ends amid another`);
    if (tag === SET) {
      assertSorted(children.map((child) => octets.subarray(child.start, child.end)));
    }
  }
  return { start, end };
}

function assertValue(tag: number, content: Buffer): void {
  if (tag === BOOLEAN) {
    assert.ok(content.length === 1 && (content[0] === 0 || content[0] === 0xff), 'BOOLEAN is not 00 or FF');
  }
  if (tag === INTEGER) {
    const [first = 0, second = 0x80] = content;
    const isPadded = (first === 0 && second < 0x80) || (first === 0xff && second >= 0x80);
    assert.ok(content.length === 1 || (content.length > 1 && !isPadded), 'INTEGER is not the shortest');
  }
}

function assertSorted(elements: readonly Buffer[]): void {
  for (const [index, element] of elements.slice(1).entries()) {
    assert.ok(Buffer.compare(elements[index] as Buffer, element) <= 0, 'SET OF is not sorted');
  }
}
