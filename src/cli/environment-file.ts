/** The file of an environment, read for a command. */
import { readFile } from 'node:fs/promises';
import { type Environment, EnvironmentError, readEnvironment } from '../provision/environment.ts';

/**
 * @param name what it must be for
 * @returns undefined where it cannot be used, which has been told then
 */
export async function readEnvironmentFile(file: string, name: string | undefined): Promise<Environment | undefined> {
  try {
    return readEnvironment(file, await readFile(file, 'utf8'), name);
  } catch (error) {
    if (error instanceof EnvironmentError || (error as NodeJS.ErrnoException).code === 'ENOENT') {
      console.error((error as Error).message);
      return undefined;
    }
    throw error;
  }
}
