/**
 * `relay-gateway config --edit`: has an environment file edited, checks the whole, and only then puts it in its place.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  chown,
  copyFile,
  mkdtemp,
  open,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { readEnvironmentFile } from '../config/environment-file.ts';
import { consequenceOf } from '../config/restarts.ts';
import { SECRETS, SERVICE_NAMES, type ServiceName } from '../config/settings.ts';
import { ConfigError, type Environment, readConfig } from '../config.ts';
import { table } from './table.ts';

const CLEAN = 0;
const BAD_CONFIGURATION = 2;

/** For its owner's eyes: there may be passwords in it. */
const MODE = 0o600;

const NEW_FILE = '# NAME=value a line. All settings are explained in docs/operate.md.\n';

interface Before {
  readonly text: string;
  /** Undefined where there is none yet. */
  readonly mode: number | undefined;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

/**
 * @param environment names the editor: VISUAL, or EDITOR, or vi
 * @param file the environment file
 * @returns the process's exit code: 2 where what is wrong was left so, and nothing was written
 * @throws Error when the editor or the file system fails, or somebody else changed the file meanwhile
 */
export async function editConfig(environment: Environment, file: string): Promise<number> {
  const target = await realpath(file).catch(() => path.resolve(file));
  const before = await readBefore(target);
  const folder = await mkdtemp(path.join(tmpdir(), 'relay-gateway-config-'));
  try {
    const draft = path.join(folder, path.basename(target));
    await writeFile(draft, before.mode === undefined ? NEW_FILE : before.text, { mode: MODE });
    for (;;) {
      await runEditor(environment, draft);
      const text = await readFile(draft, 'utf8');
      const faults = faultsOf(text);
      if (faults.length === 0) {
        return await finish(target, before, text);
      }
      console.error(`It cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
      if (!(await wantsToGoOn())) {
        console.error(`\nNothing was written: ${target} is as it was`);
        return BAD_CONFIGURATION;
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Without an answer, as where nobody is there: no. */
async function wantsToGoOn(): Promise<boolean> {
  process.stderr.write('Edit it again? [Y/n] ');
  // Not before: until then what is typed is the editor's.
  const lines = createInterface({ input: process.stdin, terminal: false });
  const answer = await Promise.race([
    once(lines, 'line').then(([line]) => String(line)),
    once(lines, 'close').then(() => 'n'),
  ]);
  lines.close();
  return !/^n/i.test(answer.trim());
}

async function readBefore(target: string): Promise<Before> {
  try {
    const { mode, uid, gid } = await stat(target);
    return { text: await readFile(target, 'utf8'), mode: mode & 0o777, owner: { uid, gid } };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      return { text: '', mode: undefined, owner: undefined };
    }
    throw error;
  }
}

/** The editor's own command line may have options, so a shell reads it. */
async function runEditor(environment: Environment, draft: string): Promise<void> {
  const editor = environment['VISUAL'] || environment['EDITOR'] || 'vi';
  const child = spawn('/bin/sh', ['-c', `${editor} "$1"`, 'sh', draft], { stdio: 'inherit', env: environment });
  const [code] = await once(child, 'exit');
  if (code !== 0) {
    throw new Error(`The editor (${editor}) ended with ${code}: nothing was written`);
  }
}

function faultsOf(text: string): readonly string[] {
  const { values, faults } = readEnvironmentFile(text);
  try {
    readConfig(Object.fromEntries(values));
    return faults;
  } catch (error) {
    if (error instanceof ConfigError) {
      return [...faults, ...error.faults];
    }
    throw error;
  }
}

async function finish(target: string, before: Before, text: string): Promise<number> {
  const changes = changesBetween(before.text, text);
  if (before.mode !== undefined && text === before.text) {
    console.log('Nothing was changed');
    return CLEAN;
  }
  if ((await readBefore(target)).text !== before.text) {
    throw new Error(`Somebody else has changed ${target} meanwhile: nothing was written`);
  }
  await replace(target, before, text);
  console.log(describe(target, before, changes, readEnvironmentFile(text).values));
  return CLEAN;
}

/** Whoever reads the file finds either the old or the new one, whole, also after a power cut. */
async function replace(target: string, { mode = MODE, owner, text: old }: Before, text: string): Promise<void> {
  if (old !== '') {
    await copyFile(target, `${target}.old`);
    await keepOwner(`${target}.old`, mode, owner);
  }
  const temporary = `${target}.new`;
  await rm(temporary, { force: true });
  {
    await using handle = await open(temporary, 'wx', MODE);
    await handle.writeFile(text);
    await handle.sync();
  }
  await keepOwner(temporary, mode, owner);
  await rename(temporary, target);
  await using directory = await open(path.dirname(target));
  await directory.sync();
}

async function keepOwner(file: string, mode: number, owner: Before['owner']): Promise<void> {
  const { uid, gid } = await stat(file);
  if (owner && (owner.uid !== uid || owner.gid !== gid)) {
    await chown(file, owner.uid, owner.gid);
  }
  await chmod(file, mode);
}

interface Change {
  readonly variable: string;
  readonly from: string | undefined;
  readonly to: string | undefined;
}

function changesBetween(before: string, after: string): Change[] {
  const [old, wanted] = [readEnvironmentFile(before).values, readEnvironmentFile(after).values];
  return [...new Set([...old.keys(), ...wanted.keys()])]
    .map((variable) => ({ variable, from: old.get(variable), to: wanted.get(variable) }))
    .filter(({ from, to }) => from !== to);
}

function describe(
  target: string,
  before: Before,
  changes: readonly Change[],
  values: ReadonlyMap<string, string>,
): string {
  const shown = (variable: string, value: string | undefined) =>
    value === undefined ? '(none)' : SECRETS.has(variable) ? 'set' : value || '(none)';
  const rows = changes.map(({ variable, from, to }) => [
    variable,
    `${shown(variable, from)} -> ${shown(variable, to)}`,
    consequenceOf(variable) ? '' : 'no setting of the gateway: kept as it is',
  ]);
  const warnings = changes.flatMap(({ variable, from }) => {
    const warning = consequenceOf(variable)?.warning;
    // In a new file nothing leads anywhere yet.
    return warning && (before.mode !== undefined || from !== undefined) ? [`Mind: ${warning}`] : [];
  });
  return [
    ...(rows.length > 0 ? [table(rows)] : []),
    ...warnings,
    `Written to ${target}${before.text === '' ? '' : `; what was there is in ${target}.old`}`,
    restart(changes, readConfig(Object.fromEntries(values)).services),
  ].join('\n');
}

function restart(changes: readonly Change[], running: readonly ServiceName[]): string {
  const services = SERVICE_NAMES.filter((name) =>
    changes.some(({ variable }) => consequenceOf(variable)?.services.includes(name)),
  );
  const concerned = services.filter((name) => running.includes(name));
  if (concerned.length === 0) {
    return 'Nothing has to be restarted';
  }
  return `Restart whatever runs ${concerned.join(', ')}: settings are read at the start`;
}
