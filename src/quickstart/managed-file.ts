/**
 * Files that commands write and people may edit. The first line, in scripts the second, has a digest of the others: as
 * long as it fits, a command may write the file anew; once somebody has edited it, it is theirs.
 */
import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** What tells the kernel how to run a script must be its first line. */
const SHEBANG = /^#!.*\n/;

const MARK = /^# Written by relay-gateway [a-z-]+\. Once edited, it is not written over\. sha256:([0-9a-f]{64})$/;

export interface WantedFile {
  readonly path: string;
  /** Without the mark. */
  readonly text: string;
  readonly mode: number;
}

export interface Placed {
  /** `kept`: somebody has edited what is there, and it differs from what is wanted. */
  readonly outcome: 'written' | 'replaced' | 'unchanged' | 'kept';
  /** Lines only of what was there (`- …`) or only of what is wanted (`+ …`). */
  readonly difference: readonly string[];
}

/**
 * Puts a file where it is wanted, unless somebody has edited what is there.
 *
 * @param options.isDry says what would be done, and does nothing
 * @param options.command whose file it is
 * @throws Error of the file system
 */
export async function placeFile(
  wanted: WantedFile,
  { isDry, command }: { isDry: boolean; command?: string },
): Promise<Placed> {
  const text = marked(wanted.text, command);
  const there = await readIfThere(wanted.path);
  if (there === text) {
    return { outcome: 'unchanged', difference: [] };
  }
  const difference = there === undefined ? [] : differenceOf(there, text);
  if (there !== undefined && !isOurs(there)) {
    // What was edited and says the same is fine.
    return { outcome: difference.length === 0 ? 'unchanged' : 'kept', difference };
  }
  if (!isDry) {
    await mkdir(path.dirname(wanted.path), { recursive: true });
    const temporary = `${wanted.path}.new`;
    await writeFile(temporary, text, { mode: wanted.mode });
    // Whatever the umask, and whatever was left of an earlier run.
    await chmod(temporary, wanted.mode);
    await rename(temporary, wanted.path);
  }
  return { outcome: there === undefined ? 'written' : 'replaced', difference };
}

/** The text as it stands in the file. */
export function marked(text: string, command = 'quickstart'): string {
  const [shebang = ''] = SHEBANG.exec(text) ?? [];
  const mark = `# Written by relay-gateway ${command}. Once edited, it is not written over. sha256:${digest(text)}\n`;
  return `${shebang}${mark}${text.slice(shebang.length)}`;
}

/** Undefined where there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return undefined;
    }
    throw error;
  }
}

function isOurs(there: string): boolean {
  const [shebang = ''] = SHEBANG.exec(there) ?? [];
  const end = there.indexOf('\n', shebang.length);
  return MARK.exec(there.slice(shebang.length, end))?.[1] === digest(shebang + there.slice(end + 1));
}

/** Lines have no order worth telling in files such as these. */
function differenceOf(there: string, wanted: string): string[] {
  const lines = (text: string) => text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'));
  const [before, after] = [lines(there), lines(wanted)];
  return [
    ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
  ];
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
