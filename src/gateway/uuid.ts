/** Random UUIDs (RFC 9562, version 4), of octets that the caller draws. */
import type { Random } from './ports.ts';

const OCTETS = 16;

/** Lower-case, with hyphens. */
export function newUuid(random: Random): string {
  const octets = Buffer.from(random(OCTETS));
  octets[6] = (octets.readUInt8(6) & 0x0f) | 0x40;
  octets[8] = (octets.readUInt8(8) & 0x3f) | 0x80;
  return octets.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
