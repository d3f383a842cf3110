/** Which keys objects may have. */

/** Sorts after every character that keys may have. */
export const AFTER_ALL = '\x7f';

const KEY_PATTERN = /^[\x20-\x7e]{1,512}$/;
const PREFIX_PATTERN = /^[\x20-\x7e]{0,512}$/;

/** @throws TypeError */
export function requireKey(key: string): void {
  if (!KEY_PATTERN.test(key)) {
    throw new TypeError('An object key is 1 to 512 printable ASCII characters');
  }
}

/** @throws TypeError */
export function requirePrefix(prefix: string): void {
  if (!PREFIX_PATTERN.test(prefix)) {
    throw new TypeError('A prefix is up to 512 printable ASCII characters');
  }
}
