/**
 * Tests that need a tool of the machine, such as strace.
 *
 * Where it is missing the test is skipped and the last lines of the run tell how to get it (see `reporter.ts`); in
 * continuous integration (`CI=true`) that is a failure.
 */
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import type { TestOptions } from 'node:test';

/** What a skipped test's reason starts with, for the reporter. */
export const MISSING_TOOL = 'This machine lacks ';

/**
 * Options for a test that runs `command`.
 *
 * @param howToGet e.g. `apt-get install strace`
 * @throws Error in continuous integration, when the machine has no such command
 */
export function needsTool(command: string, howToGet: string, environment = process.env): TestOptions {
  if (findCommand(command, environment['PATH'] ?? '')) {
    return {};
  }
  const reason = `${MISSING_TOOL}${command}: ${howToGet}`;
  if (environment['CI'] === 'true') {
    throw new Error(reason);
  }
  return { skip: reason };
}

/** The file that `command` would run, or undefined where there is none in the folders of `searchPath`. */
export function findCommand(command: string, searchPath: string): string | undefined {
  return searchPath
    .split(path.delimiter)
    .map((directory) => path.join(directory, command))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
