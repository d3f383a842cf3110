/** Time and chance as this machine has them: the only place where the gateway gets them from. */
import { createECDH, randomBytes, randomInt } from 'node:crypto';
import { writeP256KeyPair } from './awala/session-key.ts';
import type { Clock, NewKeyPair, Random } from './gateway/ports.ts';

export const machineClock: Clock = { now: () => Date.now() };

/** Octets that are drawn at once for what needs a few: each draw costs more than these. */
const DRAWN_AT_ONCE = 4096;

/** Most draws are for ids, keys and initialization vectors. */
const FEW = 64;

let drawn = Buffer.alloc(0);

export const machineRandom: Random = (octets) => {
  if (octets > FEW) {
    return randomBytes(octets);
  }
  if (drawn.length < octets) {
    drawn = randomBytes(DRAWN_AT_ONCE);
  }
  const some = drawn.subarray(0, octets);
  drawn = drawn.subarray(octets);
  const given = Buffer.from(some);
  // Nothing of it stays here.
  some.fill(0);
  return given;
};

/** A number from 0 up to 1, for spreading things out in time; nothing secret depends on it. */
export const machineChance = (): number => randomInt(2 ** 32) / 2 ** 32;

export const newMachineKeyPair: NewKeyPair = async () => {
  const key = createECDH('prime256v1');
  const point = key.generateKeys();
  return writeP256KeyPair(key.getPrivateKey(), point);
};
