/** How messages are packed into cargoes, and how large these may be. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { cargoItemOctets } from '../../../src/awala/cargo/cargo-message-set.ts';
import { CargoPace, LEAST_CARGO_OCTETS } from '../../../src/gateway/cargo/cargo-pace.ts';
import { type OutgoingItem, type PackedCargo, packCargoes } from '../../../src/gateway/cargo/cargo-packing.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const itemOf = (octets: number, expiry = 1): OutgoingItem => ({
  bytes: Buffer.alloc(octets),
  expiry,
  digest: '01234567',
});

/** In batches of 7. */
async function* given(items: readonly OutgoingItem[]) {
  for (let start = 0; start < items.length; start += 7) {
    yield items.slice(start, start + 7);
  }
}

const octetsOf = ({ items }: PackedCargo) => items.reduce((sum, { bytes }) => sum + cargoItemOctets(bytes.length), 0);

describe('Packing', () => {
  test('keeps the order, and only a single item takes more than there is room', async () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 50 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 0, max: 5000 }), async (lengths, room) => {
        const items = lengths.map((length) => itemOf(length));
        const cargoes = await Array.fromAsync(packCargoes(given(items), () => room));
        assert.deepEqual(
          cargoes.flatMap((cargo) => cargo.items),
          items,
        );
        for (const [index, cargo] of cargoes.entries()) {
          assert.ok(cargo.items.length === 1 || octetsOf(cargo) <= room);
          const next = cargoes[index + 1]?.items[0];
          // None could have been larger.
          assert.ok(!next || octetsOf(cargo) + cargoItemOctets(next.bytes.length) > room);
        }
      }),
    );
  });

  test('puts 4,000 items into one cargo, and not one more', async () => {
    const items = Array.from({ length: 9000 }, () => itemOf(10));
    const cargoes = await Array.fromAsync(packCargoes(given(items), () => 100 * MIB));
    assert.deepEqual(
      cargoes.map((cargo) => cargo.items.length),
      [4000, 4000, 1000],
    );
  });

  test('has cargo expire with the item that lives longest', async () => {
    const [cargo] = await Array.fromAsync(packCargoes(given([itemOf(1, 5), itemOf(1, 9), itemOf(1, 7)]), () => 100));
    assert.equal(cargo?.expiry, 9);
  });

  test('asks for the room when it begins a cargo, so that what was acknowledged meanwhile counts', async () => {
    let room = 100;
    const counts: number[] = [];
    for await (const { items } of packCargoes(given(Array.from({ length: 60 }, () => itemOf(8))), () => room)) {
      counts.push(items.length);
      room *= 2;
    }
    assert.deepEqual(counts, [10, 20, 30]);
  });
});

describe('The pace', () => {
  test('doubles while acknowledgements are fast, stays, and halves when they are slow', () => {
    const pace = new CargoPace(64 * KIB, MIB, 0);
    const sizes = [0, 250, 251, 1000, 1001, 5000, 5000].map((elapsed) => {
      pace.acknowledged(KIB, elapsed);
      return pace.octets / KIB;
    });
    assert.deepEqual(sizes, [128, 256, 256, 256, 128, 64, 64]);
  });

  test('takes a fast cargo that one message made larger for what the link can do', () => {
    const pace = new CargoPace(64 * KIB, 4 * MIB, 0);
    const sizes = [251, 250, 1001].map((elapsed) => {
      pace.acknowledged(MIB, elapsed);
      return pace.octets / KIB;
    });
    assert.deepEqual(sizes, [64, 2048, 1024]);
  });

  test('ends at the most that is allowed', () => {
    const pace = new CargoPace(64 * KIB, MIB, 0);
    for (let count = 0; count < 10; count++) {
      pace.acknowledged(KIB, 1);
    }
    assert.equal(pace.octets, MIB);
    assert.equal(new CargoPace(64 * KIB, 16 * KIB, 0).octets, 16 * KIB);
  });

  test('starts at half for each call that was without an acknowledgement, with room for the envelope left', () => {
    const starts = [0, 1, 2, 3, 100].map((calls) => new CargoPace(64 * KIB, MIB, calls).octets);
    assert.deepEqual(starts, [64 * KIB, 32 * KIB, 16 * KIB, LEAST_CARGO_OCTETS, LEAST_CARGO_OCTETS]);
  });
});
