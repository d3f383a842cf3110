/** `relay-gateway cost`: what the cloud charges for a million parcels, and for a million connected devices a month. */
import { Command } from 'commander';
import { COMMANDS_PER_WORKER_HOUR, OPERATIONS, type Operations, READS_PER_PROCESS_HOUR } from './cost-operations.ts';
import { LIST_PRICES, type Prices, PricesError, readPrices } from './cost-prices.ts';
import { table } from './table.ts';

const BAD_USAGE = 2;

const MILLION = 1e6;
const DAYS = 30;
const HOURS = DAYS * 24;
const SECONDS = HOURS * 3600;
const GB = 1e9;

/** A guess. */
const PARCELS_PER_CARGO = 30;

/** US dollars, by what they are for. */
export interface Cost {
  readonly what: string;
  readonly storage: number;
  readonly firestore: number;
  readonly kms: number;
  readonly redis: number;
  readonly processes: number;
  readonly total: number;
}

/** Of a million parcels of each kind, each on its whole way; and of a million connected devices for a month. */
export interface CostReport {
  readonly prices: Prices;
  readonly parcels: readonly Cost[];
  readonly devices: Cost;
}

/** The command, for the program to add to its own. */
export function costCommand(): Command {
  return new Command('cost')
    .description('Tell what the cloud charges for a million parcels, and for a million connected devices a month.')
    .option('--prices <file>', 'JSON with prices and assumptions in place of those that --json tells')
    .option('--json', 'print JSON')
    .action(({ prices, json }: { prices?: string; json?: true }) => {
      try {
        const report = costReport(prices === undefined ? LIST_PRICES : readPrices(prices));
        console.log(json ? JSON.stringify(report, undefined, 2) : describe(report));
      } catch (error) {
        if (!(error instanceof PricesError)) {
          throw error;
        }
        console.error(error.message);
        process.exitCode = BAD_USAGE;
      }
    });
}

export function costReport(prices: Prices): CostReport {
  const { delivered, collectedLive, collectedLater, internetBound, cargoBorne } = OPERATIONS;
  const { collectedByCourier, acknowledgedByCargo } = OPERATIONS;
  // What a cargo and a collection cost themselves is shared.
  const cargo = times(OPERATIONS.cargo, 1 / PARCELS_PER_CARGO);
  const collection = times(OPERATIONS.courierCollection, 1 / PARCELS_PER_CARGO);
  const days = prices.waitingDays;
  const ways: [string, number, ...Operations[]][] = [
    ['parcels, collected live', 0, delivered, collectedLive],
    ['parcels, collected later', days, delivered, collectedLater],
    ['parcels, for the Internet', 0, internetBound],
    ['parcels, in cargo, collected live', 0, cargoBorne, cargo, collectedLive],
    ['parcels, collected by courier', days, delivered, collectedByCourier, collection, acknowledgedByCargo, cargo],
  ];
  return {
    prices,
    parcels: ways.map(([what, waiting, ...asked]) => costOf(what, total(asked, MILLION), prices, { days: waiting })),
    devices: costOfDevices(prices),
  };
}

function costOfDevices(prices: Prices): Cost {
  const { connection, waitingHour, registration } = OPERATIONS;
  const processes = Math.ceil(MILLION / prices.devicesPerProcess);
  const regular: Operations = {
    firestoreReads: processes * HOURS * READS_PER_PROCESS_HOUR,
    redisCommands: processes * HOURS * COMMANDS_PER_WORKER_HOUR,
  };
  const asked = total(
    [
      times(connection, MILLION * DAYS * prices.connectionsPerDeviceDay),
      times(waitingHour, MILLION * HOURS),
      times(registration, MILLION * prices.registrationsPerDeviceMonth),
      regular,
    ],
    1,
  );
  return costOf('connected devices, a month', asked, prices, { processes });
}

function costOf(
  what: string,
  asked: Required<Operations>,
  prices: Prices,
  { days = 0, processes = 0 }: { days?: number; processes?: number },
): Cost {
  const kept = (MILLION * prices.parcelOctets * days) / DAYS / GB;
  const parts = {
    storage:
      (asked.classA * prices.classAPer10000 + asked.classB * prices.classBPer10000) / 1e4 +
      kept * prices.storageGbMonth,
    firestore:
      (asked.firestoreReads * prices.firestoreReadsPer100000 +
        asked.firestoreWrites * prices.firestoreWritesPer100000 +
        asked.firestoreDeletes * prices.firestoreDeletesPer100000) /
      1e5,
    kms:
      (asked.kmsOperations * prices.kmsOperationsPer10000) / 1e4 + (processes > 0 ? 2 * prices.kmsKeyVersionMonth : 0),
    redis: (asked.redisCommands / (prices.redisCommandsPerSecond * SECONDS)) * prices.redisMonth,
    processes: processes * prices.processMonth,
  };
  return { what, ...parts, total: Object.values(parts).reduce((sum, part) => sum + part, 0) };
}

function total(operations: readonly Operations[], of: number): Required<Operations> {
  const sum = (name: keyof Operations) => of * operations.reduce((so, each) => so + (each[name] ?? 0), 0);
  return {
    classA: sum('classA'),
    classB: sum('classB'),
    firestoreReads: sum('firestoreReads'),
    firestoreWrites: sum('firestoreWrites'),
    firestoreDeletes: sum('firestoreDeletes'),
    kmsOperations: sum('kmsOperations'),
    redisCommands: sum('redisCommands'),
  };
}

const times = (operations: Operations, factor: number): Operations => total([operations], factor);

/** The report in columns, for people. */
export function costTable({ parcels, devices }: CostReport): string {
  const row = ({ what, storage, firestore, kms, redis, processes, total: sum }: Cost) => [
    `a million ${what}`,
    ...[storage, firestore, kms, redis, processes, sum].map((dollars) => dollars.toFixed(2)),
  ];
  return table([
    ['US dollars', 'storage', 'Firestore', 'KMS', 'Redis', 'processes', 'total'],
    ...[...parcels, devices].map(row),
  ]);
}

function describe(report: CostReport): string {
  return [
    costTable(report),
    '',
    'Operations as they are counted by the tests, at list prices, without traffic to the Internet.',
    'With --json come the prices and assumptions, each of which --prices replaces.',
  ].join('\n');
}
