/**
 * Assertions about refusals by the protocol layer.
 */
import assert from 'node:assert/strict';
import { AwalaError, type AwalaErrorCode } from '../../src/awala/errors.ts';

/** Fails unless `read` refuses with this code and says why. */
export function assertRefused(code: AwalaErrorCode, read: () => unknown): void {
  assert.throws(read, (error) => isRefusal(error, code));
}

/** As `assertRefused`, of what is asynchronous. */
export function assertRejected(code: AwalaErrorCode, writing: Promise<unknown>): Promise<void> {
  return assert.rejects(writing, (error) => isRefusal(error, code));
}

/** Whether `read` gives a value; fails if it throws anything but a refusal. */
export function isAccepted(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    assert.ok(error instanceof AwalaError, `threw ${error}`);
    return false;
  }
}

function isRefusal(error: unknown, code: AwalaErrorCode): true {
  assert.ok(error instanceof AwalaError, `threw ${error}`);
  assert.equal(error.code, code, error.message);
  assert.ok(error.message.length > 10, 'a refusal says what is wrong');
  return true;
}
