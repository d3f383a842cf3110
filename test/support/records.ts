/** Records as a gateway's stores have them, by the thousand. */
import type { RecordCopy } from '../../src/gateway/ports.ts';

/** Milliseconds: none of them expires during a test. */
const YEAR = 365 * 86_400_000;

/**
 * Session keys, a private gateway for each ten of them, and parcels that were sent on: of the sizes that they have in a
 * gateway.
 */
export function* manyRecords(count: number, now: number): Generator<RecordCopy> {
  for (let number = 0; number < count; number++) {
    const peer = `0${(number - (number % 10)).toString(16).padStart(64, '0')}`;
    const expiry = now + YEAR + number;
    if (number % 10 === 0) {
      yield {
        kind: 'private-gateways',
        key: peer,
        fields: { publicKey: octets(294, number), registered: now },
        expiry,
      };
    } else if (number % 2 === 0) {
      yield { kind: 'sent-parcels', key: octets(32, number).toString('hex'), fields: { octets: peer }, expiry };
    } else {
      const fields = { privateKey: octets(167, number), created: now, expiry, isLasting: true, isUsed: false };
      yield { kind: 'session-keys', key: `${peer}/${number.toString(16).padStart(16, '0')}`, fields, expiry };
    }
  }
}

/** Octets that differ from number to number. */
function octets(length: number, number: number): Buffer {
  const filled = Buffer.alloc(length, number % 251);
  filled.writeUInt32BE(number, 0);
  return filled;
}
