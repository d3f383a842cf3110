/** Configuration to objects: what watches the gateway, and what it is shown. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config.ts';
import type { CargoEvent } from '../gateway/cargo/cargo-events.ts';
import type { Clock, JournalEntry, QueueName } from '../gateway/ports.ts';
import { WaitingCensus } from '../gateway/waiting-census.ts';
import type { Logger } from '../log.ts';
import { machineChance, machineClock } from '../machine.ts';
import { lastBackup } from '../services/control/backup-order.ts';
import type { CheckRounds } from '../services/ops/check-rounds.ts';
import type { Server } from '../services/service.ts';
import { GatewayMetrics } from '../telemetry/gateway-metrics.ts';
import { measuredPorts, measuredWrapping, type OnBackingCall } from '../telemetry/measured-ports.ts';
import { addProcessMetrics } from '../telemetry/process-metrics.ts';
import { watchedJournal } from '../telemetry/watched-journal.ts';
import { watchEventLoop } from '../workers/event-loop-watch.ts';
import { Housekeeping } from '../workers/housekeeping.ts';
import type { Backends } from './backends.ts';
import type { Core } from './core.ts';

const QUEUES: readonly QueueName[] = ['internet-delivery', 'cargo'];

const MILLISECONDS = 1000;

/** Messages of each place that one round of housekeeping counts: in a bucket, a page of 1,000 costs one operation. */
const COUNTED_AT_ONCE = 10_000;

/** What watches this process. */
export interface Telemetry extends AsyncDisposable {
  readonly metrics: GatewayMetrics;
  /** Told of what happens to parcels and to cargo; never throws and never waits. */
  onParcel(entry: JournalEntry): void;
  onCargo(event: CargoEvent): void;
  /** Told of each call of what messages, records and keys are kept in. */
  readonly onBackingCall: OnBackingCall;
}

/** Traces are loaded only where a collector for them is configured. */
export async function openTelemetry(config: Config, logger: Logger, clock: Clock = machineClock): Promise<Telemetry> {
  const { otlpEndpoint } = config;
  const parts = { config, logger, clock, version: version() };
  const tracing = otlpEndpoint ? (await import('./tracing.ts')).openTracing(otlpEndpoint, parts) : undefined;
  const metrics = new GatewayMetrics();
  const loop = watchEventLoop((milliseconds) => logger.warn({ milliseconds }, 'Event loop stalled'));
  addProcessMetrics(metrics.metrics, () => loop.delays, parts.version);
  return {
    metrics,
    onParcel(entry) {
      metrics.parcel(entry);
      tracing?.spans.parcel(entry);
      logEvent(logger, entry);
    },
    onCargo(event) {
      metrics.cargo(event);
      tracing?.spans.cargo(event);
      const { ids, ...rest } = event;
      logger.debug({ ...ids, ...rest }, 'Cargo event');
    },
    onBackingCall(call) {
      metrics.backingCall(call);
      logger.trace(call, 'Store called');
    },
    async [Symbol.asyncDispose]() {
      loop[Symbol.dispose]();
      await tracing?.[Symbol.asyncDispose]();
    },
  };
}

/** The same backends, whose calls and events are told. */
export function watchBackends(backends: Backends, config: Config, telemetry: Telemetry): Backends {
  const { objectStore: objects, records, signals, keys } = config;
  const onCall = telemetry.onBackingCall;
  return {
    ...backends,
    ...measuredPorts(backends, { objects, records, signals, keys }, onCall),
    wrapping: measuredWrapping(backends.wrapping, keys, onCall),
    journal: watchedJournal(backends.journal, [(entry) => telemetry.onParcel(entry)]),
  };
}

/** Adds what is looked up when Prometheus asks, and starts to count what waits. */
export function watchGateway(
  config: Config,
  logger: Logger,
  parts: { telemetry: Telemetry; core: Core; checks: CheckRounds; servers: readonly Server[] },
): AsyncDisposable {
  const { telemetry, core, servers } = parts;
  const { metrics } = telemetry.metrics;
  addLookedMetrics(config, parts);
  metrics.looked(
    {
      name: 'tls_certificate_expiry_timestamp_seconds',
      help: 'When the TLS certificate of a service ends.',
      labels: ['service'],
    },
    () =>
      servers.flatMap(({ name, certificateExpiry }) =>
        certificateExpiry === undefined ? [] : [{ labels: [name], value: certificateExpiry / MILLISECONDS }],
      ),
  );
  const census = new WaitingCensus({ objects: core.backends.objects, clock: core.clock });
  addWaiting(telemetry, census, core);
  // Where processes share a store, those count that look after it.
  const counting = new Housekeeping({
    chores: config.services.includes('worker') ? [{ name: 'count', run: () => census.count(COUNTED_AT_ONCE) }] : [],
    period: config.housekeepingPeriod,
    chance: machineChance,
    onError: (chore, err) => logger.error({ chore, err }, 'Housekeeping failed'),
  });
  counting.start();
  return counting;
}

/** What no door and no worker logs by itself, so that each event of a message is in one line, with its name in `event`. */
function logEvent(logger: Logger, entry: JournalEntry): void {
  const { event, door } = entry;
  if (event === 'sent') {
    logger.debug(entry, 'Message event');
  } else if (event === 'moved') {
    logger.info(entry, 'Parcel moved to its mailbox');
  } else if (event === 'loaded') {
    logger.info(entry, 'Parcel left in cargo');
  } else if (event === 'acknowledged' && door === 'cargo') {
    logger.info(entry, 'Parcel collected');
  }
}

function addLookedMetrics(
  config: Config,
  { telemetry, core, checks }: { telemetry: Telemetry; core: Core; checks: CheckRounds },
): void {
  const { metrics } = telemetry.metrics;
  const { backends, identity, clock } = core;
  // A gateway that was never backed up alerts as one does whose backup is old.
  const unsaved = () => (config.recoveryPublicKey === undefined ? undefined : identity.allKeys()[0]?.created);
  metrics.looked(
    {
      name: 'queue_lag_seconds',
      help: 'Since when the oldest work has been due that no worker has in hand.',
      labels: ['queue'],
    },
    () =>
      Promise.all(
        QUEUES.map(async (queue) => {
          const due = await backends.work.oldestDue(queue);
          return { labels: [queue], value: due === undefined ? 0 : Math.max(0, clock.now() - due) / MILLISECONDS };
        }),
      ),
  );
  metrics.looked(
    { name: 'check_up', help: 'Whether a service or a store of this process works: 1 or 0.', labels: ['check'] },
    async () => (await checks.look()).map(({ name, ok }) => ({ labels: [name], value: ok ? 1 : 0 })),
  );
  metrics.looked(
    {
      name: 'identity_certificate_expiry_timestamp_seconds',
      help: 'When the certificate ends under which this gateway issues others.',
    },
    () => [{ value: identity.issuer().certificate.notAfter / MILLISECONDS }],
  );
  metrics.looked(
    {
      name: 'backup_age_seconds',
      help:
        'How old the last backup is. Where there has been none: how old the identity key is, which would be lost; absent ' +
        'without RECOVERY_PUBLIC_KEY.',
    },
    async () => {
      const time = (await lastBackup(backends.records)) ?? unsaved();
      return time === undefined ? [] : [{ value: Math.max(0, clock.now() - time) / MILLISECONDS }];
    },
  );
}

function addWaiting({ metrics: { metrics } }: Telemetry, census: WaitingCensus, { clock }: Core): void {
  const looked = (name: string, help: string, value: (waiting: Counted) => number) => {
    metrics.looked({ name, help, labels: ['place'] }, () =>
      [...census.waiting()].map((waiting) => ({ labels: [waiting.place], value: value(waiting) })),
    );
  };
  looked('waiting_messages', 'Parcels and cargo that wait, by place, as counted last.', ({ count }) => count);
  looked('waiting_bytes', 'Their size together.', ({ octets }) => octets);
  looked('waiting_oldest_seconds', 'For how long the oldest has waited.', ({ oldest }) =>
    oldest === undefined ? 0 : Math.max(0, clock.now() - oldest) / MILLISECONDS,
  );
  looked('waiting_owners', 'Private gateways with something there.', ({ owners }) => owners);
  looked('waiting_most_messages', 'How many the private gateway with most has there.', ({ most }) => most.count);
  looked('waiting_most_bytes', 'Octets of the private gateway with most there.', ({ most }) => most.octets);
  looked('waiting_counted_timestamp_seconds', 'When the count was complete.', ({ counted }) => counted / MILLISECONDS);
}

type Counted = ReturnType<WaitingCensus['waiting']> extends Iterable<infer Waiting> ? Waiting : never;

function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
