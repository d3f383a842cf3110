/**
 * Counts what a gateway asks of Cloud Storage, Firestore, Cloud KMS and Redis: at the wire of each, so that nothing that
 * is asked goes uncounted.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Script } from '../../src/backends/redis/client.ts';
import * as meterScripts from '../../src/backends/redis/meter-scripts.ts';
import * as queueScripts from '../../src/backends/redis/queue-scripts.ts';
import type { Cloud } from './cloud.ts';
import type { GrpcProxy } from './grpc-proxy.ts';
import type { RedisServer } from './redis-server.ts';

type Counts = Record<string, number>;

export interface CloudCounts {
  /** By operation: `objects.insert`. */
  readonly gcs: Counts;
  /** By method and collection: `Commit sent-parcels`. */
  readonly firestore: Counts;
  /** By method: `AsymmetricSign`. */
  readonly kms: Counts;
  /** By command, or the script that is run: `PUBLISH`, `RESERVE`. */
  readonly redis: Counts;
}

/** What each process asks again and again, whether or not there is anything to do. */
const REGULAR = {
  firestore: ['BatchGetDocuments configuration', 'BatchGetDocuments leases', 'Commit leases'],
  redis: ['PEEK', 'PING', 'TRIM', 'OLDEST_DUE'],
};

/** A call of Firestore by the collection that it is about; to be given to `startGrpcProxy`. */
export function firestoreCall(method: string, request: Buffer): string {
  return `${method} ${/\/documents\/([a-z-]+)\//.exec(request.toString('latin1'))?.[1]}`;
}

const SCRIPTS: ReadonlyMap<string, string> = new Map(
  Object.entries<Script | unknown>({ ...meterScripts, ...queueScripts })
    .filter((entry): entry is [string, Script] => typeof (entry[1] as Script).sha === 'string')
    .map(([name, { sha }]) => [sha, name]),
);

export class CloudMeter implements AsyncDisposable {
  private readonly cloud: Cloud;
  private readonly proxy: GrpcProxy;
  private readonly monitor: RedisMonitor;

  private constructor(cloud: Cloud, proxy: GrpcProxy, monitor: RedisMonitor) {
    this.cloud = cloud;
    this.proxy = proxy;
    this.monitor = monitor;
  }

  /** @param proxy before the Firestore of this cloud */
  static async open(cloud: Cloud, proxy: GrpcProxy): Promise<CloudMeter> {
    return new CloudMeter(cloud, proxy, await RedisMonitor.open(cloud.redis));
  }

  /** Forgets what was counted. */
  async reset(): Promise<void> {
    await this.monitor.settled();
    this.monitor.counts = {};
    this.cloud.gcs.operations.length = 0;
    this.cloud.kms.resetCounts();
    this.proxy.resetCounts();
  }

  /** What was asked since the last reset, without what is asked regularly. */
  async read(): Promise<CloudCounts> {
    await this.monitor.settled();
    const gcs: Counts = {};
    for (const operation of this.cloud.gcs.operations) {
      gcs[operation] = (gcs[operation] ?? 0) + 1;
    }
    const firestore = without(REGULAR.firestore, this.proxy.counts);
    const redis = without(REGULAR.redis, this.monitor.counts);
    return { gcs, firestore, kms: Object.fromEntries(this.cloud.kms.counts), redis };
  }

  /** How often the processes looked for changes, in Firestore, and for work, in Redis. */
  async regular(): Promise<{ firestore: number; redis: number }> {
    await this.monitor.settled();
    return {
      firestore: this.proxy.counts['BatchGetDocuments configuration'] ?? 0,
      redis: this.monitor.counts['PEEK'] ?? 0,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.monitor[Symbol.dispose]();
  }
}

function without(names: readonly string[], counts: Counts): Counts {
  return Object.fromEntries(Object.entries(counts).filter(([name]) => !names.includes(name)));
}

/** Hears each command that clients send, by MONITOR; not those that scripts run. */
class RedisMonitor implements Disposable {
  counts: Counts = {};
  private readonly socket: Socket;
  private readonly server: RedisServer;
  private marks = 0;
  private readonly heard = new Map<string, () => void>();

  private constructor(server: RedisServer, socket: Socket) {
    this.server = server;
    this.socket = socket;
    createInterface(socket).on('line', (line) => this.hear(line));
  }

  static async open(server: RedisServer): Promise<RedisMonitor> {
    const socket = connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    const monitor = new RedisMonitor(server, socket);
    socket.write('MONITOR\r\n');
    await monitor.settled();
    return monitor;
  }

  /** Resolves when all that was sent before is counted. */
  async settled(): Promise<void> {
    const mark = `mark ${++this.marks}`;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.heard.set(mark, resolve);
    // Should the monitor begin only now, one of the next marks is heard.
    const again = setInterval(() => void this.server.ask('ECHO', mark).catch(() => undefined), 1000);
    await this.server.ask('ECHO', mark);
    await promise;
    clearInterval(again);
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  /** E.g. `+1339518083.107412 [0 127.0.0.1:60866] "evalsha" "2f…" "1" "key"`. */
  private hear(line: string): void {
    const [, origin, command = '', first = ''] = /^\+\S+ \[\d+ ([^\]]+)\] "([^"]*)"(?: "([^"]*)")?/.exec(line) ?? [];
    if (origin === undefined || origin === 'lua') {
      return;
    }
    const name = command.toUpperCase();
    if (name === 'ECHO') {
      this.heard.get(first)?.();
      this.heard.delete(first);
      return;
    }
    const counted = name === 'EVALSHA' ? (SCRIPTS.get(first) ?? first) : name;
    this.counts[counted] = (this.counts[counted] ?? 0) + 1;
  }
}
