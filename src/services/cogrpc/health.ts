/**
 * The standard health service of gRPC (grpc.health.v1): whether each service works, for load balancers and watchers.
 */
import {
  type MethodDefinition,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { numberField, octetsField, readFields } from './protobuf.ts';

export const HEALTH_NAME = 'grpc.health.v1.Health';

const SERVICE = 1;
const STATUS = 1;

/** The longest name of a service that is asked for, in octets. */
const MAX_NAME_OCTETS = 256;

/** Of `ServingStatus`. */
const SERVING = 1;
const NOT_SERVING = 2;
const SERVICE_UNKNOWN = 3;

export interface HealthCheckRequest {
  /** Full name, or empty for the server as a whole. */
  readonly service: string;
}

export interface HealthCheckResponse {
  /** Of `ServingStatus` in `proto/`. */
  readonly status: number;
}

const messages = {
  requestStream: false,
  requestSerialize: ({ service }: HealthCheckRequest) => Buffer.concat(octetsField(SERVICE, Buffer.from(service))),
  requestDeserialize: (message: Buffer): HealthCheckRequest => {
    const service = readFields(message).get(SERVICE) ?? Buffer.alloc(0);
    if (typeof service === 'number' || service.length > MAX_NAME_OCTETS) {
      throw new Error('Name of the service is not a short string');
    }
    return { service: service.toString('utf8') };
  },
  responseSerialize: (response: HealthCheckResponse) => Buffer.concat(numberField(STATUS, response.status)),
  responseDeserialize: (message: Buffer): HealthCheckResponse => ({
    status: Number(readFields(message).get(STATUS) ?? 0),
  }),
};

export const HEALTH_DEFINITION = {
  check: { path: `/${HEALTH_NAME}/Check`, responseStream: false, ...messages } satisfies MethodDefinition<
    HealthCheckRequest,
    HealthCheckResponse
  >,
  watch: { path: `/${HEALTH_NAME}/Watch`, responseStream: true, ...messages } satisfies MethodDefinition<
    HealthCheckRequest,
    HealthCheckResponse
  >,
} satisfies ServiceDefinition;

type Watcher = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;

export interface HealthParts {
  /** Full names of the services, which work or fail together. */
  readonly services: readonly string[];
  /** Resolves when they work. */
  readonly check: () => Promise<void>;
  /** How often the state is looked at for those who watch it, in milliseconds. */
  readonly interval: number;
}

export class Health {
  private readonly parts: HealthParts;
  private readonly watchers = new Set<Watcher>();
  private readonly timer: NodeJS.Timeout;
  private round: Promise<void> | undefined;
  private isServing = false;
  private isClosed = false;

  constructor(parts: HealthParts) {
    this.parts = parts;
    this.timer = setInterval(() => this.watchers.size > 0 && void this.look(), parts.interval).unref();
  }

  /** The handlers of `HEALTH_DEFINITION`. */
  get handlers() {
    return {
      check: async (
        { request: { service } }: ServerUnaryCall<HealthCheckRequest, HealthCheckResponse>,
        answer: sendUnaryData<HealthCheckResponse>,
      ) => {
        await this.look();
        const state = this.stateOf(service);
        if (state === SERVICE_UNKNOWN) {
          answer({ code: status.NOT_FOUND, details: 'Service is not here' });
        } else {
          answer(null, { status: state });
        }
      },
      watch: async (watcher: Watcher) => {
        const forget = () => this.watchers.delete(watcher);
        watcher.on('cancelled', forget).on('error', forget).on('close', forget);
        // Whoever does not read is told the latest state when it does.
        watcher.on('drain', () => this.tell(watcher));
        await this.look();
        if (!watcher.cancelled) {
          this.watchers.add(watcher);
          this.tell(watcher);
        }
      },
    };
  }

  /** From now on nothing serves; ends all watches. */
  close(): void {
    clearInterval(this.timer);
    this.isClosed = true;
    this.settle(false);
    for (const watcher of this.watchers) {
      watcher.end();
    }
    this.watchers.clear();
  }

  /** Looks how things are, once for all who ask meanwhile. */
  private look(): Promise<void> {
    this.round ??= this.parts
      .check()
      .then(
        () => this.settle(!this.isClosed),
        () => this.settle(false),
      )
      .finally(() => {
        this.round = undefined;
      });
    return this.round;
  }

  private settle(isServing: boolean): void {
    if (isServing === this.isServing) {
      return;
    }
    this.isServing = isServing;
    for (const watcher of this.watchers) {
      this.tell(watcher);
    }
  }

  private stateOf(service: string): number {
    if (service !== '' && !this.parts.services.includes(service)) {
      return SERVICE_UNKNOWN;
    }
    return this.isServing ? SERVING : NOT_SERVING;
  }

  private tell(watcher: Watcher): void {
    if (!watcher.writableNeedDrain) {
      watcher.write({ status: this.stateOf(watcher.request.service) });
    }
  }
}
