/**
 * Configuration to objects: stores that are damaged, with no gateway on them. First everything is looked at and nothing
 * changed; what is found may then be mended for a day, so that nobody mends by an examination of long ago.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type DirectoryFault, examineDirectory, mendDirectory } from '../backends/local/directory-faults.ts';
import type { Examination } from '../backends/local/examination.ts';
import { type Config, localKinds } from '../config.ts';
import { type Clock, RECORD_KINDS, type Records } from '../gateway/ports.ts';
import { isUnfinishedRestore } from '../gateway/restoration.ts';
import { DAY, MINUTE } from '../gateway/time.ts';
import type { Logger } from '../log.ts';
import { machineRandom } from '../machine.ts';
import { openBackends } from './backends.ts';
import { openCore } from './core.ts';
import { liveProcessesIn } from './live-processes.ts';

/** For how long what was found may be mended, in milliseconds. */
export const RECOVERY_LIFETIME = DAY;

/** The record that says when the stores were examined; where something is local, a file. */
const MARK = 'recovery';
const MARK_FILE = 'recovery.json';

/** How often damaged contents are looked for again: one look names a hundred of them. */
const MOST_LOOKS = 1000;

export type RecoveryErrorCode =
  /** A process of the gateway is at work on the stores. */
  | 'GATEWAY_LIVE'
  /** Nobody has looked at what is wrong, or it was more than a day ago. */
  | 'EXAMINATION_MISSING'
  | 'EXAMINATION_LAPSED'
  /** Something is wrong that only the operator or a backup can mend. */
  | 'NOT_MENDABLE';

export class RecoveryError extends Error {
  override readonly name = 'RecoveryError';
  readonly code: RecoveryErrorCode;

  constructor(code: RecoveryErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export type RecoveryFault = Omit<DirectoryFault, 'code'> & {
  readonly code: DirectoryFault['code'] | 'RESTORE_UNFINISHED' | 'RECORDS_UNREADABLE';
};

export interface RecoveryExamination {
  /** Milliseconds: until when it may be mended. */
  readonly lapses: number;
  readonly faults: readonly RecoveryFault[];
  /** What the local stores hold; undefined where there are none, or they could not be read. */
  readonly contents: Examination | undefined;
}

export interface Recovery {
  /** What was done, a sentence each. */
  readonly done: readonly string[];
  /** How many damaged messages and records were set aside. */
  readonly setAside: number;
  /** Node id of the key that issues. */
  readonly nodeId: string;
}

interface Parts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Looks for what is wrong, and notes that it was looked for. Changes nothing else.
 *
 * @throws RecoveryError GATEWAY_LIVE; DataDirectoryError DATA_DIR_IN_USE; StoreError
 */
export async function examineStores(config: Config, parts: Parts): Promise<RecoveryExamination> {
  const found = await look(config, parts);
  const now = parts.clock.now();
  await note(config, parts, now);
  return { ...found, lapses: now + RECOVERY_LIFETIME };
}

/**
 * Mends what an examination within the last day found: puts back what a start needs, repairs files, sets damaged contents
 * aside, deletes what belongs to nothing, and queues again whatever waits. It may be cut short and run again.
 *
 * @throws RecoveryError; DataDirectoryError; StoreError; GatewayError IDENTITY_KEY_MISSING
 */
export async function recoverStores(config: Config, parts: Parts): Promise<Recovery> {
  const { clock, logger } = parts;
  const { faults } = await look(config, parts);
  requireFresh(await noted(config, parts), clock.now());
  const others = faults.filter(({ mend }) => mend !== 'recover');
  if (others.length > 0) {
    const list = others.map(({ code, detail, mend }) => `  ${code} (${mend}): ${detail}`).join('\n');
    throw new RecoveryError(
      'NOT_MENDABLE',
      `There is something that recover cannot mend; docs/recovery.md has more:\n${list}`,
    );
  }
  const isLocal = localKinds(config).length > 0;
  const done = isLocal ? await mendDirectory(config.dataDirectory, machineRandom) : [];
  const setAside = isLocal ? await setDamageAside(config, parts) : 0;
  await using core = await openCore(config, logger, clock);
  const compaction = await core.backends.local?.compact();
  await core.cargo.requeue();
  await core.storage.outbox.requeue(Number.POSITIVE_INFINITY);
  done.push(
    `${setAside} damaged messages or records were set aside`,
    ...(compaction ? [`${compaction.orphanedBodies} bodies that belonged to nothing were deleted`] : []),
    'Cargo and parcels for the Internet that wait are queued',
  );
  await forget(config, core.backends.records);
  return { done, setAside, nodeId: core.identity.id };
}

async function look(config: Config, parts: Parts): Promise<Omit<RecoveryExamination, 'lapses'>> {
  const faults: RecoveryFault[] = [];
  let contents: Examination | undefined;
  if (localKinds(config).length > 0) {
    const hasOwnKeys = config.records === 'local' && config.keys === 'local';
    const found = await examineDirectory(config.dataDirectory, {
      ...{ hasOwnKeys, clock: parts.clock, random: machineRandom },
    });
    faults.push(...found.faults);
    contents = found.contents;
    if (found.records.some(isUnfinishedRestore)) {
      faults.push(UNFINISHED_RESTORE);
    }
  }
  if (config.records !== 'local') {
    await withSharedRecords(config, parts, async (records) => {
      await requireNobody(records);
      faults.push(...(await examineRecords(records)));
    });
  }
  return { faults, contents };
}

const UNFINISHED_RESTORE: RecoveryFault = {
  ...{ code: 'RESTORE_UNFINISHED', mend: 'operator' },
  detail: 'A backup was being restored, and that has not ended: run the same relay-gateway restore again',
};

/** Whoever is at work on shared records has a lease, or takes one within minutes. */
async function requireNobody(records: Records): Promise<void> {
  const [live] = await liveProcessesIn(records);
  if (live) {
    const until = live.until === undefined ? '' : ` until ${new Date(live.until).toISOString()}`;
    throw new RecoveryError(
      'GATEWAY_LIVE',
      `A process of the gateway, ${live.holder}, has a lease${until}: stop all processes, and wait until then`,
    );
  }
}

async function examineRecords(records: Records): Promise<RecoveryFault[]> {
  const faults: RecoveryFault[] = [];
  for (const kind of RECORD_KINDS) {
    try {
      for await (const { key } of records.list(kind)) {
        if (isUnfinishedRestore({ kind, key })) {
          faults.push(UNFINISHED_RESTORE);
        }
      }
    } catch (error) {
      const detail = `Records of kind ${kind} cannot be read: ${(error as Error).message}`;
      faults.push({ code: 'RECORDS_UNREADABLE', detail, mend: 'operator' });
    }
  }
  return faults;
}

/** Opening the stores repairs their files; reading what is damaged sets it aside. */
async function setDamageAside(config: Config, { clock, logger }: Parts): Promise<number> {
  await using backends = await openBackends(config, logger, clock);
  const { local } = backends;
  for (let looks = 0; local && looks < MOST_LOOKS; looks++) {
    if ((await local.examine()).damaged === 0) {
      break;
    }
  }
  return local?.damaged ?? 0;
}

function requireFresh(examined: number | undefined, now: number): void {
  if (examined === undefined) {
    throw new RecoveryError('EXAMINATION_MISSING', 'Run relay-gateway recover first, and read what it finds');
  }
  // Or by a clock that was wrong.
  if (now - examined > RECOVERY_LIFETIME || examined - now > MINUTE) {
    throw new RecoveryError(
      'EXAMINATION_LAPSED',
      `The stores were examined at ${new Date(examined).toISOString()}, which counts for 24 hours: run relay-gateway recover again`,
    );
  }
}

async function note(config: Config, parts: Parts, now: number): Promise<void> {
  const file = markFile(config);
  if (file === undefined) {
    await withSharedRecords(config, parts, (records) =>
      records.put('configuration', MARK, { examined: now }, now + RECOVERY_LIFETIME),
    );
  } else if (existsSync(config.dataDirectory)) {
    writeFileSync(file, `${JSON.stringify({ examined: now })}\n`, { mode: 0o600 });
  }
}

async function noted(config: Config, parts: Parts): Promise<number | undefined> {
  const file = markFile(config);
  if (file === undefined) {
    return withSharedRecords(config, parts, async (records) =>
      numberIn((await records.get('configuration', MARK))?.fields['examined']),
    );
  }
  try {
    return numberIn((JSON.parse(readFileSync(file, 'utf8')) as { examined?: unknown }).examined);
  } catch {
    return undefined;
  }
}

async function forget(config: Config, records: Records): Promise<void> {
  const file = markFile(config);
  if (file === undefined) {
    await records.delete('configuration', MARK);
  } else {
    rmSync(file, { force: true });
  }
}

/** Beside the stores, since these may be damaged. */
function markFile(config: Config): string | undefined {
  return localKinds(config).length > 0 ? path.join(config.dataDirectory, MARK_FILE) : undefined;
}

async function withSharedRecords<Result>(
  config: Config,
  { logger, clock }: Parts,
  use: (records: Records) => Promise<Result>,
): Promise<Result> {
  const { openDatabase } = await import('./firestore.ts');
  await using records = await openDatabase(config, logger, clock);
  // Awaited here, or they would be closed before.
  return await use(records);
}

function numberIn(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
