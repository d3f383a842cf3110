/** Small volumes in memory, for tests of full disks. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestOptions } from 'node:test';
import { MISSING_TOOL } from './needs-tool.ts';

/**
 * Options for a test that mounts a volume: skipped where that is not allowed.
 *
 * @throws Error in continuous integration, when it is not
 */
export function needsSmallVolume(environment = process.env): TestOptions {
  try {
    smallVolume(1)[Symbol.dispose]();
    return {};
  } catch (error) {
    const reason = `${MISSING_TOOL}a volume to fill: run as root, in a container with --cap-add SYS_ADMIN`;
    if (environment['CI'] === 'true') {
      throw new Error(reason, { cause: error });
    }
    return { skip: reason };
  }
}

/** Mounts an empty volume of so many MiB until it is disposed of. */
export function smallVolume(mebibytes: number): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'gateway-volume-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0700`, 'tmpfs', path], { stdio: 'pipe' });
  } catch (error) {
    rmdirSync(path);
    throw error;
  }
  return {
    path,
    [Symbol.dispose]() {
      execFileSync('umount', [path], { stdio: 'pipe' });
      rmdirSync(path);
    },
  };
}
