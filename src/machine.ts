/** Time and chance as this machine has them: the only place where the gateway gets them from. */
import { createECDH, randomBytes, randomInt } from 'node:crypto';
import { writeP256KeyPair } from './awala/session-key.ts';
import type { Clock, NewKeyPair, Random } from './gateway/ports.ts';

export const machineClock: Clock = { now: () => Date.now() };

export const machineRandom: Random = (octets) => randomBytes(octets);

/** A number from 0 up to 1, for spreading things out in time; nothing secret depends on it. */
export const machineChance = (): number => randomInt(2 ** 32) / 2 ** 32;

export const newMachineKeyPair: NewKeyPair = async () => {
  const key = createECDH('prime256v1');
  const point = key.generateKeys();
  return writeP256KeyPair(key.getPrivateKey(), point);
};
