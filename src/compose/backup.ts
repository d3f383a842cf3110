/** Configuration to objects: backups of a gateway's stores, and stores from a backup. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { giveMasterKey } from '../backends/local/directory.ts';
import { openLocalBackends } from '../backends/local/local-backends.ts';
import { openLocalSnapshot } from '../backends/local/snapshot.ts';
import type { BackupHeader, LocalKeys } from '../backup/backup-lines.ts';
import { BackupError } from '../backup/errors.ts';
import { snapshotOf } from '../backup/listing-snapshot.ts';
import { type OpenBackup, openBackup } from '../backup/read-backup.ts';
import type { RecoveryKey } from '../backup/recovery-key.ts';
import { type RestoreReport, restoreBackup } from '../backup/restore.ts';
import { type BackupContents, writeBackup } from '../backup/write-backup.ts';
import type { Config } from '../config.ts';
import { Identity } from '../gateway/identity.ts';
import type { Clock, IdentityKeys, Records, RecordsSnapshot } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';
import { machineRandom } from '../machine.ts';
import { noteBackup } from '../services/control/backup-order.ts';
import type { ControlParameters } from '../services/control/control-socket.ts';
import { openBackends } from './backends.ts';
import { type BackupPlace, openNewPlace } from './backup-place.ts';

/** Called now and then: records done, and of how many, where that is known. */
export type OnProgress = (records: number, total: number | undefined) => void;

export interface BackupReport extends BackupContents {
  readonly id: string;
  readonly place: string;
  /** As of when it is, in milliseconds. */
  readonly instant: number;
  readonly octets: number;
  /** Records that are not in it, since they do not match their checksums. */
  readonly damaged: number;
}

/**
 * Makes a backup of what the configuration leads to, also beside the gateway that runs on it.
 *
 * @param to a file, a directory, or an object or folder of Cloud Storage
 * @throws BackupError, DataDirectoryError, StoreError; nothing is at `to` then but what was there before
 */
export async function makeBackup(
  config: Config,
  { to, recipient, clock, onProgress }: { to: string; recipient: string; clock: Clock; onProgress: OnProgress },
): Promise<BackupReport> {
  await using source = await openSource(config, clock);
  const { snapshot, localKeys } = source;
  const id = randomUUID();
  const { instant, count } = snapshot;
  const { internetAddress, keys } = config;
  const place = await openNewPlace(to, internetAddress, instant);
  const { octets, contents } = await writeBackup({
    ...{ id, snapshot, internetAddress, keys, localKeys, recipient },
    onProgress: (records) => onProgress(records, count),
  });
  const written = await place.write(octets);
  return { id, place: place.name, instant, octets: written, damaged: snapshot.damaged, ...contents() };
}

/**
 * Notes in records that processes share when the last backup was; a backup's Job has no rights on keys or messages, and needs
 * none for that.
 *
 * @param note as `noteBackup` takes it
 * @throws StoreError
 */
export async function noteSharedBackup(config: Config, note: ControlParameters, clock: Clock): Promise<void> {
  await using stack = new AsyncDisposableStack();
  await noteBackup(await openRecords(config, clock, stack), note);
}

interface Source extends AsyncDisposable {
  readonly snapshot: RecordsSnapshot;
  readonly localKeys: LocalKeys | undefined;
}

async function openSource(config: Config, clock: Clock): Promise<Source> {
  await using stack = new AsyncDisposableStack();
  const isLocal = config.records === 'local' || config.keys === 'local';
  const local = isLocal ? stack.use(await openLocalSnapshot(config.dataDirectory, clock, machineRandom)) : undefined;
  const snapshot =
    config.records === 'local' && local
      ? local.records
      : stack.use(await snapshotOf(await openRecords(config, clock, stack), clock));
  // After the records, so that every key that these refer to is there.
  const localKeys = config.keys === 'local' ? await local?.keys() : undefined;
  const resources = stack.move();
  return { snapshot, localKeys, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

async function openRecords(config: Config, clock: Clock, stack: AsyncDisposableStack): Promise<Records> {
  const { openDatabase } = await import('./firestore.ts');
  return stack.use(await openDatabase(config, undefined, clock));
}

/** A restored gateway. */
export interface RestoredGateway extends RestoreReport {
  readonly header: BackupHeader;
  /** Of the key that issues; undefined where the keys are elsewhere, and were not asked for. */
  readonly nodeId: string | undefined;
}

/**
 * Restores a backup onto the empty stores that the configuration leads to; where it was cut short, goes on.
 *
 * @throws BackupError, DataDirectoryError, StoreError; until it has ended well, no gateway starts on the stores
 */
export async function restoreGateway(
  config: Config,
  parts: { place: BackupPlace; key: RecoveryKey; clock: Clock; logger: Logger; onProgress: OnProgress },
): Promise<RestoredGateway> {
  const { place, key, clock, logger, onProgress } = parts;
  const backup = await openBackup(place.read(), key);
  requireSuitable(backup.header, config);
  const { localKeys } = backup.header;
  if (localKeys) {
    await giveMasterKey(config.dataDirectory, localKeys.masterKey);
  }
  await using backends = await openBackends(config, logger, clock);
  const { records, local, identityKeys } = backends;
  const objects = config.objectStore === 'local' ? backends.objects : undefined;
  const report = await restore(backup, { records, objects, local, clock, onProgress });
  const nodeId = await openIdentity({ records, identityKeys, clock, internetAddress: config.internetAddress });
  return { ...report, header: backup.header, nodeId };
}

/**
 * Restores a backup onto stores of its own that go again, and looks whether a gateway could run on them.
 *
 * @param parts.folder where these are meanwhile: they hold all that is secret in the backup
 * @param parts.internetAddress which gateway it must be of; empty or undefined: any
 * @throws BackupError, DataDirectoryError, StoreError
 */
export async function verifyBackup(parts: {
  place: BackupPlace;
  key: RecoveryKey;
  folder: string;
  internetAddress?: string | undefined;
  clock: Clock;
  onProgress: OnProgress;
}): Promise<RestoredGateway> {
  const { place, key, folder, clock, onProgress } = parts;
  const backup = await openBackup(place.read(), key);
  const { header } = backup;
  if (parts.internetAddress) {
    requireAddress(header, parts.internetAddress);
  }
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(path.join(folder, 'relay-gateway-verify-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  if (header.localKeys) {
    await giveMasterKey(directory, header.localKeys.masterKey);
  }
  const local = stack.use(await openLocalBackends({ directory, clock, random: machineRandom }));
  const { records, identityKeys } = local;
  const report = await restore(backup, { records, objects: undefined, local, clock, onProgress });
  const counted = await countKinds(records, clock);
  if (JSON.stringify(counted) !== JSON.stringify(sorted(report.counts))) {
    throw new BackupError('BACKUP_DAMAGED', 'This backup cannot be used: not all of it is there once it is restored');
  }
  const { internetAddress } = header;
  const nodeId = header.localKeys ? await openIdentity({ records, identityKeys, clock, internetAddress }) : undefined;
  return { ...report, header, nodeId };
}

async function restore(
  backup: OpenBackup,
  parts: {
    records: Records;
    objects: Parameters<typeof restoreBackup>[1]['objects'];
    local: { identityKeys: { restore(reference: string, wrapped: Buffer): Promise<void> } } | undefined;
    clock: Clock;
    onProgress: OnProgress;
  },
): Promise<RestoreReport> {
  const { records, objects, local, clock, onProgress } = parts;
  const { localKeys, records: total } = backup.header;
  return restoreBackup(backup, {
    ...{ records, objects, now: clock.now() },
    async restoreKeys() {
      for (const [reference, wrapped] of Object.entries(localKeys?.privateKeys ?? {})) {
        await local?.identityKeys.restore(reference, wrapped);
      }
    },
    onProgress: (done) => onProgress(done, total),
  });
}

function requireAddress(header: BackupHeader, internetAddress: string): void {
  if (header.internetAddress !== internetAddress) {
    throw new BackupError(
      'BACKUP_UNSUITABLE',
      `This is a backup of ${header.internetAddress}, and INTERNET_ADDRESS is ${internetAddress}`,
    );
  }
}

function requireSuitable(header: BackupHeader, config: Config): void {
  requireAddress(header, config.internetAddress);
  if (header.keys !== config.keys) {
    throw new BackupError('BACKUP_UNSUITABLE', `This is a backup of a gateway with KEYS=${header.keys}: set it so`);
  }
}

/** Opens the identity as a start would, and makes nothing. @returns the node id of the key that issues */
async function openIdentity(parts: {
  records: Records;
  identityKeys: IdentityKeys;
  clock: Clock;
  internetAddress: string;
}): Promise<string> {
  for await (const _ of parts.records.list('identity-keys')) {
    return (await Identity.open({ ...parts, random: machineRandom })).id;
  }
  throw new BackupError('BACKUP_DAMAGED', 'This backup cannot be used: there is no identity key in it');
}

async function countKinds(records: Records, clock: Clock): Promise<Record<string, number>> {
  await using snapshot = await snapshotOf(records, clock);
  const counts: Record<string, number> = {};
  for await (const { kind } of snapshot.read()) {
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return sorted(counts);
}

function sorted(counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).sort(([one], [other]) => (one < other ? -1 : 1)));
}
