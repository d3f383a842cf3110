/** Time and chance as this machine has them: the only place where the gateway gets them from. */
import { generateKeyPair, randomBytes, randomInt } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock, NewKeyPair, Random } from './gateway/ports.ts';

const makeKeyPair = promisify(generateKeyPair);

export const machineClock: Clock = { now: () => Date.now() };

export const machineRandom: Random = (octets) => randomBytes(octets);

/** A number from 0 up to 1, for spreading things out in time; nothing secret depends on it. */
export const machineChance = (): number => randomInt(2 ** 32) / 2 ** 32;

export const newMachineKeyPair: NewKeyPair = () =>
  makeKeyPair('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'der' },
    publicKeyEncoding: { type: 'spki', format: 'der' },
  });
