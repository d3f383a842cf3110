/** Configuration to objects: the stores, to take over what another implementation kept. */
import { foreignBucket } from '../backends/gcp/gcs/foreign-bucket.ts';
import { KmsClient } from '../backends/gcp/kms/kms-client.ts';
import type { Config } from '../config.ts';
import { CcaClaims } from '../gateway/cargo/cca-claims.ts';
import { CollectedParcels } from '../gateway/cargo/collected-parcels.ts';
import { IdentityKeyList } from '../gateway/identity-keys.ts';
import { PeerSessionKeys } from '../gateway/peer-session-keys.ts';
import type { Clock } from '../gateway/ports.ts';
import { SessionKeys } from '../gateway/session-keys.ts';
import type { Logger } from '../log.ts';
import { machineRandom, newMachineKeyPair } from '../machine.ts';
import { exportLines } from '../migration/export-lines.ts';
import { type MongoDocument, readMongoDocument } from '../migration/mongo-documents.ts';
import { MongoMigration } from '../migration/mongo-migration.ts';
import { moveParcels } from '../migration/parcel-move.ts';
import { type ExportPlace, MigrationCounts, MigrationFault, type MigrationReport } from '../migration/report.ts';
import { openBackends } from './backends.ts';
import { openCore } from './core.ts';
import { liveProcessesIn } from './live-processes.ts';

/** Documents that are taken at once: for each session key KMS is asked. */
const CONCURRENCY = 16;

export interface MigrationOptions {
  /** Exports: NDJSON files. */
  readonly files: readonly string[];
  /** The old gateway's bucket, in Cloud Storage; its parcels stay where it is not named. */
  readonly bucket?: string | undefined;
  /** The name, in the key ring, of the key that encrypted the old gateway's session keys; `KMS_WRAPPING_KEY` by default. */
  readonly sessionKey?: string | undefined;
  readonly isDryRun: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called with each document that is done. */
  readonly onProgress: () => void;
}

/**
 * Takes exports over into the stores that the configuration leads to, on which no gateway runs.
 *
 * @throws Error in one line, when a file cannot be read, a gateway is at work on the stores, or they have another identity;
 *   StoreError
 */
export async function migrateMongo(config: Config, options: MigrationOptions): Promise<MigrationReport> {
  const { isDryRun, clock, logger, bucket } = options;
  const counts = new MigrationCounts();
  await migrateRecords(config, options, counts);
  if (bucket !== undefined) {
    const old = foreignBucket(bucket);
    const random = machineRandom;
    if (isDryRun || counts.nodeId === undefined) {
      await moveParcels(old, { delivery: undefined, random, counts, isDryRun });
    } else {
      await using core = await openCore(config, logger, clock);
      await moveParcels(old, { delivery: core.delivery, random, counts, isDryRun });
    }
  }
  const report = counts.report(isDryRun);
  logger.info({ ...report, skipped: report.skipped.map(({ code, count }) => ({ code, count })) }, 'Migrated');
  return report;
}

async function migrateRecords(config: Config, options: MigrationOptions, counts: MigrationCounts): Promise<void> {
  const { files, isDryRun, clock, logger, onProgress } = options;
  await using stack = new AsyncDisposableStack();
  const { records, wrapping, identityKeys, signals, meters } = stack.use(await openBackends(config, logger, clock));
  if (config.records !== 'local' && !isDryRun) {
    // Where records are local, their lock says so.
    const [live] = await liveProcessesIn(records);
    if (live) {
      throw new Error(`The gateway is at work on these stores (${live.holder}): stop all its processes first`);
    }
  }
  const { kmsKeyRing: ring, kmsWrappingKey } = config;
  const isInKms = config.keys === 'gcp-kms' && ring !== undefined;
  const kms = isInKms ? stack.use(new KmsClient({ endpoint: config.kmsEndpoint })) : undefined;
  const sessionKey = `${ring}/cryptoKeys/${options.sessionKey ?? kmsWrappingKey}`;
  const random = machineRandom;
  const migration = new MongoMigration({
    records,
    identityKeys,
    identityKeyList: new IdentityKeyList({ records, identityKeys, clock }),
    sessionKeys: new SessionKeys({ records, wrapping, newKeyPair: newMachineKeyPair, random, clock }),
    peerSessionKeys: new PeerSessionKeys({ records }),
    ccaClaims: new CcaClaims({ records, signals }),
    collectedParcels: new CollectedParcels({ records, meters, clock }),
    clock,
    counts,
    isDryRun,
    identityKeyReference: isInKms
      ? (key, version) => `${ring}/cryptoKeys/${key}/cryptoKeyVersions/${version}`
      : undefined,
    decryptSessionKey: kms && ((ciphertext, context) => kms.decrypt(sessionKey, ciphertext, Buffer.from(context))),
  });
  // What cannot be read is told once.
  for await (const { document, place } of documents(files, (fault, at) => counts.skip(fault, at))) {
    migration.collect(document, place);
  }
  await migration.takeIdentity();
  const inHand = new Set<Promise<void>>();
  for await (const { document, place } of documents(files, () => undefined)) {
    const taking = migration.take(document, place).finally(() => {
      inHand.delete(taking);
      onProgress();
    });
    inHand.add(taking);
    if (inHand.size >= CONCURRENCY) {
      await Promise.race(inHand);
    }
  }
  await Promise.all(inHand);
}

interface PlacedDocument {
  readonly document: MongoDocument;
  readonly place: ExportPlace;
}

async function* documents(
  files: readonly string[],
  onFault: (fault: MigrationFault, place: ExportPlace) => void,
): AsyncGenerator<PlacedDocument> {
  for (const file of files) {
    for await (const { number: line, text } of exportLines(file)) {
      try {
        if (text === undefined) {
          throw new MigrationFault('LINE_TOO_LONG', 'Line is too long: no document of the old gateway has so much');
        }
        yield { document: readMongoDocument(text), place: { file, line } };
      } catch (error) {
        if (!(error instanceof MigrationFault)) {
          throw error;
        }
        onFault(error, { file, line });
      }
    }
  }
}
