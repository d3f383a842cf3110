/** The messages of CogRPC, measured by the gRPC project's own reader and writer of `proto/`. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { MethodDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import fc from 'fast-check';
import {
  type CargoDelivery,
  type CargoDeliveryAck,
  readCargoDelivery,
  readCargoDeliveryAck,
  writeCargoDelivery,
  writeCargoDeliveryAck,
} from '../../../src/services/cogrpc/messages.ts';
import { projectRoot } from '../../support/gateway.ts';

type Method = MethodDefinition<CargoDelivery, CargoDeliveryAck>;

const theirs = (name: string): Method => {
  const definition = loadSync(path.join(projectRoot, `proto/${name}/cogrpc.proto`), { defaults: true });
  const service = definition[`${name}.cogrpc.CargoRelay`] as Record<string, unknown>;
  return service['DeliverCargo'] as Method;
};

const id = fc.oneof(fc.uuid(), fc.string({ unit: 'grapheme', maxLength: 20 }), fc.constant(''));
const cargo = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.from(octets)),
  fc.integer({ min: 16_000, max: 17_000 }).map((length) => Buffer.alloc(length, 'cargo')),
);

describe('Messages of CogRPC', () => {
  for (const name of ['awala', 'relaynet']) {
    test(`are those of the ${name} package, both ways`, () => {
      const method = theirs(name);
      fc.assert(
        fc.property(id, cargo, (someId, someCargo) => {
          const delivery = { id: someId, cargo: someCargo };
          assert.deepEqual(method.requestDeserialize(writeCargoDelivery(delivery)), delivery);
          const pieces = [someCargo.subarray(0, 100), Buffer.alloc(0), someCargo.subarray(100)];
          assert.deepEqual(method.requestDeserialize(writeCargoDelivery({ id: someId, cargo: pieces })), delivery);
          assert.deepEqual(readCargoDelivery(method.requestSerialize(delivery)), delivery);
          assert.deepEqual(method.responseDeserialize(writeCargoDeliveryAck({ id: someId })), { id: someId });
          assert.deepEqual(readCargoDeliveryAck(method.responseSerialize({ id: someId })), { id: someId });
        }),
      );
    });
  }

  test('are read without copying the cargo', () => {
    const message = writeCargoDelivery({ id: 'a', cargo: Buffer.alloc(100, 'cargo') });
    const { cargo: view } = readCargoDelivery(message);
    assert.equal(view.buffer, message.buffer);
  });

  test('may have fields that we do not know, and twice the same', () => {
    const known = writeCargoDelivery({ id: 'a', cargo: Buffer.from('b') });
    // Field 3, of each type: a number, 64 bits, octets, 32 bits.
    const unknown = Buffer.from('18ffffffffffffffffff01' + '190102030405060708' + '1a020102' + '1d01020304', 'hex');
    const again = writeCargoDelivery({ id: 'c', cargo: Buffer.alloc(0) });
    const message = Buffer.concat([unknown, known, unknown, again, unknown]);
    assert.deepEqual(readCargoDelivery(message), { id: 'c', cargo: Buffer.from('b') });
  });

  test('are refused when they are cut short, of other types, or have endless ids', () => {
    const whole = writeCargoDelivery({ id: 'id', cargo: Buffer.from('cargo') });
    const fieldEnds = [0, 4, whole.length];
    for (let end = 0; end <= whole.length; end++) {
      const read = () => readCargoDelivery(whole.subarray(0, end));
      if (fieldEnds.includes(end)) {
        read();
      } else {
        assert.throws(read, /cut short/);
      }
    }
    for (const hex of ['0801', '1001', '0b', '0affffffffffffffffffff01', `1a${'ff'.repeat(12)}`]) {
      assert.throws(() => readCargoDelivery(Buffer.from(hex, 'hex')), Error, hex);
    }
    assert.throws(() => readCargoDeliveryAck(writeCargoDeliveryAck({ id: 'x'.repeat(257) })));
  });

  test('are read or refused, whatever the octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
        try {
          const { cargo: view } = readCargoDelivery(Buffer.from(octets));
          assert.ok(view.length <= octets.length);
        } catch (error) {
          assert.ok(error instanceof Error && /cut short|number|Id is/.test(error.message), String(error));
        }
      }),
    );
  });
});
