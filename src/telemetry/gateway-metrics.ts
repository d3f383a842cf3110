/**
 * The gateway's own metrics: each is named and explained here, and nowhere else.
 *
 * No label has an id, an address or a destination: their values come from lists in the code.
 */
import type { CargoEvent } from '../gateway/cargo/cargo-events.ts';
import type { JournalEntry } from '../gateway/ports.ts';
import { type Counter, type Family, type Histogram, Metrics } from './metrics.ts';

/** Upper bounds of how long a parcel was under way, in seconds: from live delivery to a phone that was off for a month. */
const WAY_BUCKETS = [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 7200, 43_200, 86_400, 604_800, 2_592_000];

const MILLISECONDS = 1000;

/** What a part of the gateway sees of a backing service: one call of it. */
export interface BackingCall {
  /** Which port it keeps: `objects`, `records`, `work`, `meters`, `keys`. */
  readonly port: string;
  /** What keeps it: `local`, `gcs`, `redis`, … */
  readonly backend: string;
  readonly operation: string;
  /** How long it took, in milliseconds. */
  readonly took: number;
  /** The stable code of its failure. */
  readonly code: string | undefined;
}

export class GatewayMetrics {
  readonly metrics = new Metrics('relay_gateway_');
  private readonly parcelsIn: Family<Counter>;
  private readonly parcelsOut: Family<Counter>;
  private readonly way: Family<Histogram>;
  private readonly attempts: Family<Histogram>;
  private readonly retries: Family<Counter>;
  private readonly cargoIn: Family<Counter>;
  private readonly cargoOpened: Family<Counter>;
  private readonly cargoOut: Family<Counter>;
  private readonly requests: Family<Histogram>;
  private readonly calls: Family<Counter>;
  private readonly backing: Family<Histogram>;
  private readonly backingErrors: Family<Counter>;

  constructor() {
    const { metrics } = this;
    this.parcelsIn = metrics.counter({
      name: 'parcels_total',
      help: 'Parcels that came in, by door; of those refused, by code.',
      labels: ['door', 'outcome', 'code'],
    });
    this.parcelsOut = metrics.counter({
      name: 'parcels_out_total',
      help: 'What became of parcels on their way out: collected by PoWeb, loaded into cargo, sent on by PoHTTP.',
      labels: ['door', 'outcome'],
    });
    this.way = metrics.histogram(
      {
        name: 'delivery_seconds',
        help: 'From the acceptance of a parcel to its being sent, by the door that it left by.',
        labels: ['door'],
      },
      WAY_BUCKETS,
    );
    this.attempts = metrics.histogram({
      name: 'internet_attempt_seconds',
      help: 'How long an attempt to deliver to an Internet node took, by its outcome.',
      labels: ['outcome'],
    });
    this.retries = metrics.counter({
      name: 'retries_total',
      help: 'Deliveries to Internet nodes that are tried again, by what is known of the destination and by why.',
      labels: ['destination', 'code'],
    });
    this.cargoIn = metrics.counter({
      name: 'cargo_total',
      help: 'Cargo that couriers brought; of what was refused, by code.',
      labels: ['outcome', 'code'],
    });
    this.cargoOpened = metrics.counter({
      name: 'cargo_opened_total',
      help: 'Cargo that the worker opened, dropped or put back for want of room.',
      labels: ['outcome', 'code'],
    });
    this.cargoOut = metrics.counter({
      name: 'cargo_out_total',
      help: 'Collections of cargo by couriers, by how they ended.',
      labels: ['outcome', 'code'],
    });
    this.requests = metrics.histogram({
      name: 'http_request_seconds',
      help: 'HTTP requests from their headers to the end of their answer, by service, route and status.',
      labels: ['service', 'route', 'status'],
    });
    this.calls = metrics.counter({
      name: 'grpc_calls_total',
      help: 'Calls of couriers that ended, by method and gRPC status.',
      labels: ['method', 'status'],
    });
    this.backing = metrics.histogram({
      name: 'backing_seconds',
      help: 'Calls of backing services, by port, backend and operation.',
      labels: ['port', 'backend', 'operation'],
    });
    this.backingErrors = metrics.counter({
      name: 'backing_errors_total',
      help: 'Calls of backing services that failed, by port, backend, operation and code.',
      labels: ['port', 'backend', 'operation', 'code'],
    });
    this.startAtZero();
  }

  /** An event of a parcel's way. */
  parcel({ event, door = '', code = '', took, waited, standing }: JournalEntry): void {
    if (event === 'accepted' || event === 'refused') {
      this.parcelsIn.of(door, event, code).increase();
      return;
    }
    if (event === 'postponed') {
      this.retries.of(standing ?? 'trial', code).increase();
    } else if (event !== 'moved') {
      this.parcelsOut.of(door, event).increase();
    }
    if (waited !== undefined && (event === 'sent' || event === 'loaded' || event === 'sent-on')) {
      this.way.of(door).observe(waited / MILLISECONDS);
    }
    if (took !== undefined && (event === 'postponed' || event === 'sent-on' || event === 'given-up')) {
      this.attempts.of(event).observe(took / MILLISECONDS);
    }
  }

  /** An event of a cargo's way. */
  cargo({ event, code = '' }: CargoEvent): void {
    switch (event) {
      case 'accepted':
      case 'refused':
      case 'not-now':
        this.cargoIn.of(event, code).increase();
        break;
      case 'opened':
      case 'dropped':
      case 'waiting':
        this.cargoOpened.of(event, code).increase();
        break;
      default:
        this.cargoOut.of(event, code).increase();
    }
  }

  /** An answer to an HTTP request. @param took in milliseconds */
  answered(service: string, route: string, status: number, took: number): void {
    this.requests.of(service, route, String(status)).observe(took / MILLISECONDS);
  }

  /** The end of a courier's call. @param status name of the gRPC status */
  called(method: string, status: string): void {
    this.calls.of(method, status).increase();
  }

  backingCall({ port, backend, operation, took, code }: BackingCall): void {
    this.backing.of(port, backend, operation).observe(took / MILLISECONDS);
    if (code !== undefined) {
      this.backingErrors.of(port, backend, operation, code).increase();
    }
  }

  /** What comes from 0 to 1 is a change that Prometheus sees; what comes from nowhere is none. */
  private startAtZero(): void {
    for (const door of ['poweb', 'pohttp', 'cargo']) {
      this.parcelsIn.of(door, 'accepted', '');
    }
    for (const [door, outcome] of [
      ['poweb', 'sent'],
      ['poweb', 'acknowledged'],
      ['cargo', 'loaded'],
      ['cargo', 'acknowledged'],
      ['pohttp', 'sent-on'],
      ['pohttp', 'given-up'],
    ] as const) {
      this.parcelsOut.of(door, outcome);
    }
    for (const outcome of ['accepted', 'refused', 'not-now']) {
      this.cargoIn.of(outcome, '');
    }
    for (const outcome of ['opened', 'dropped', 'waiting']) {
      this.cargoOpened.of(outcome, '');
    }
    for (const outcome of ['collected', 'broken-off', 'collection-refused', 'failed']) {
      this.cargoOut.of(outcome, '');
    }
  }
}
