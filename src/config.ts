/**
 * The gateway's configuration: the environment, read once, checked whole, as one typed object.
 *
 * Each setting is a row of `SETTINGS`; `docs/operate.md` explains them, and a test holds the two together.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  addressRange,
  anyText,
  bindHost,
  bucketName,
  domainName,
  duration,
  httpUrl,
  integer,
  isLoopback,
  keyName,
  keyRing,
  listOf,
  octets,
  oneBuilt,
  oneOf,
  port,
  type ReadValue,
  redisUrl,
  serviceUrl,
  ValueError,
  yesOrNo,
} from './config-values.ts';

/** Doors that this version has. */
const SERVICE_NAMES = ['poweb', 'collection', 'pohttp', 'cogrpc', 'worker', 'ops'] as const;

export type ServiceName = (typeof SERVICE_NAMES)[number];

interface Setting<Value> {
  readonly variable: string;
  /** As it would stand in the environment; undefined where the setting has no value unless it is given. */
  readonly defaultText: string | undefined;
  readonly read: ReadValue<Value>;
}

function setting<Value>(variable: string, defaultText: string, read: ReadValue<Value>): Setting<Value> {
  return { variable, defaultText, read };
}

function optional<Value>(variable: string, read: ReadValue<Value>): Setting<Value | undefined> {
  return { variable, defaultText: undefined, read };
}

const backend = (others: readonly string[]) => oneBuilt(['local'], others);

/** Less than the largest parcel, and some could never be delivered. */
const MAX_STORED_PARCEL = 16 * 1024 ** 2;

/** Android's courier takes no gRPC message of more than 4 MiB, its own framing included. */
const MAX_SHARED_CARGO = 4 * 1024 ** 2 - 1024;

/** What RS-018 allows; deployed clients read those with CBC (protocol section 1). */
const CONTENT_CIPHERS = [
  'aes-128-cbc',
  'aes-192-cbc',
  'aes-256-cbc',
  'aes-128-gcm',
  'aes-192-gcm',
  'aes-256-gcm',
] as const;

const SETTINGS = {
  internetAddress: setting('INTERNET_ADDRESS', 'gateway.test', domainName),
  services: setting('SERVICES', SERVICE_NAMES.join(','), listOf(oneOf(SERVICE_NAMES))),

  bindHost: setting('BIND_HOST', '127.0.0.1', bindHost),
  powebPort: setting('POWEB_PORT', '8080', port),
  pohttpPort: setting('POHTTP_PORT', '8081', port),
  cogrpcPort: setting('COGRPC_PORT', '8082', port),
  opsBindHost: setting('OPS_BIND_HOST', '127.0.0.1', bindHost),
  opsPort: setting('OPS_PORT', '8090', port),

  dataDirectory: setting('DATA_DIR', './data', path.normalize),
  objectStore: setting('OBJECT_STORE', 'local', oneOf(['local', 'gcs'])),
  gcsBucket: optional('GCS_BUCKET', bucketName),
  gcsMaxAge: setting('GCS_MAX_AGE', '180d', duration('1d', '180d')),
  records: setting('RECORDS', 'local', backend(['firestore'])),
  keys: setting('KEYS', 'local', oneOf(['local', 'gcp-kms'])),
  kmsKeyRing: optional('KMS_KEY_RING', keyRing),
  kmsIdentityKey: setting('KMS_IDENTITY_KEY', 'identity', keyName),
  kmsWrappingKey: setting('KMS_WRAPPING_KEY', 'session-keys', keyName),
  kmsEndpoint: optional('KMS_ENDPOINT', serviceUrl),
  signals: setting('SIGNALS', 'local', oneOf(['local', 'redis'])),
  redisUrl: optional('REDIS_URL', redisUrl),

  resolverUrl: setting('RESOLVER_URL', 'https://cloudflare-dns.com/dns-query', httpUrl),
  allowPrivateDestinations: setting('ALLOW_PRIVATE_DESTINATIONS', 'false', yesOrNo),
  deliveriesPerDestination: setting('DELIVERIES_PER_DESTINATION', '16', integer(1, 128)),

  tlsCertificateFile: optional('TLS_CERT_FILE', anyText),
  tlsKeyFile: optional('TLS_KEY_FILE', anyText),
  trustedProxies: setting('TRUSTED_PROXIES', '', listOf(addressRange)),

  logLevel: setting('LOG_LEVEL', 'info', oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])),

  bodiesInFlight: setting('BODIES_IN_FLIGHT', '256MiB', octets(16 * 1024 ** 2)),
  connectionsPerPort: setting('CONNECTIONS_PER_PORT', '25000', integer(1, 1_000_000)),
  minUploadRate: setting('MIN_UPLOAD_RATE', '1KiB', octets(1)),
  collectionMaxAge: setting('COLLECTION_MAX_AGE', '6h', duration('10s', '7d')),
  registrationPolicy: setting('REGISTRATION_POLICY', 'open', oneOf(['open', 'allowlist', 'closed'])),
  registrationsPerAddress: setting('REGISTRATIONS_PER_ADDRESS', '3000', integer(0, 1_000_000)),
  requestsPerAddress: setting('REQUESTS_PER_ADDRESS', '30000', integer(0, 10_000_000)),
  handshakesPerAddress: setting('HANDSHAKES_PER_ADDRESS', '3000', integer(0, 1_000_000)),
  socketsPerAddress: setting('SOCKETS_PER_ADDRESS', '20000', integer(0, 1_000_000)),
  signaturesPerSecond: setting('SIGNATURES_PER_SECOND', '100', integer(0, 100_000)),
  deliveriesPerPeer: setting('DELIVERIES_PER_PEER', '30000', integer(0, 1_000_000)),
  collectionsPerPeer: setting('COLLECTIONS_PER_PEER', '600', integer(0, 1_000_000)),
  mailboxParcels: setting('MAILBOX_PARCELS', '10000', integer(1, 10_000_000)),
  mailboxOctets: setting('MAILBOX_OCTETS', '1GiB', octets(MAX_STORED_PARCEL)),
  outboxParcels: setting('OUTBOX_PARCELS', '10000', integer(1, 10_000_000)),
  outboxOctets: setting('OUTBOX_OCTETS', '1GiB', octets(MAX_STORED_PARCEL)),
  cargoCount: setting('CARGO_COUNT', '10000', integer(1, 10_000_000)),
  cargoOctets: setting('CARGO_OCTETS', '1GiB', octets(MAX_STORED_PARCEL)),
  cargoSize: setting('CARGO_SIZE', '1MiB', octets(16 * 1024, MAX_SHARED_CARGO)),
  cargoCipher: setting('CARGO_CIPHER', 'aes-128-cbc', oneOf(CONTENT_CIPHERS)),
  courierCalls: setting('COURIER_CALLS', '32', integer(1, 100_000)),
  courierCallsPerConnection: setting('COURIER_CALLS_PER_CONNECTION', '8', integer(1, 1000)),
  courierCallIdle: setting('COURIER_CALL_IDLE', '2m', duration('1s', '1h')),
  courierConnectionIdle: setting('COURIER_CONNECTION_IDLE', '60s', duration('1s', '1h')),
  courierConnectionAge: setting('COURIER_CONNECTION_AGE', '1h', duration('10s', '7d')),
  journalOctets: setting('JOURNAL_OCTETS', '256MiB', octets(1024 ** 2)),
  gracePeriod: setting('GRACE_PERIOD', '25s', duration('0s', '1h')),
  housekeepingPeriod: setting('HOUSEKEEPING_PERIOD', '1m', duration('1s', '1h')),
};

/** Services that listen on `BIND_HOST`. */
const PUBLIC_SERVICES: readonly string[] = ['poweb', 'collection', 'pohttp', 'cogrpc'];

/** Limits on strangers and peers that 0 switches off. */
const LIMITS = [
  'registrationsPerAddress',
  'requestsPerAddress',
  'handshakesPerAddress',
  'socketsPerAddress',
  'signaturesPerSecond',
  'deliveriesPerPeer',
  'collectionsPerPeer',
] as const;

/** Variables whose values are never shown. */
const SECRETS: ReadonlySet<string> = new Set(['REDIS_URL']);

type Settings = typeof SETTINGS;

/** The whole configuration; sizes in octets, times in milliseconds. */
export type Config = { readonly [Name in keyof Settings]: ReturnType<Settings[Name]['read']> };

/** One setting as it came to be, for people. */
export interface EffectiveValue {
  readonly variable: string;
  /** Text as in the environment; `set` for a secret; undefined for none. */
  readonly value: string | undefined;
  readonly origin: 'environment' | 'default';
}

/** The configuration cannot be used; lists every fault. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`Configuration cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.faults = faults;
  }
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment into the configuration. An empty variable counts as one that is not set.
 *
 * @throws ConfigError with every fault at once
 */
export function readConfig(environment: Environment): Config {
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { variable, defaultText, read }] of Object.entries<Setting<unknown>>(SETTINGS)) {
    const text = environment[variable] || defaultText;
    try {
      values[name] = text === undefined ? undefined : read(text);
    } catch (error) {
      if (!(error instanceof ValueError)) {
        throw error;
      }
      faults.push(`${variable} ${error.message}`);
    }
  }
  faults.push(...faultsBetween(values as Partial<Config>));
  if (faults.length > 0) {
    throw new ConfigError(faults);
  }
  return values as Config;
}

/** All settings with their values and where each came from; of what `readConfig` accepts. */
export function effectiveValues(environment: Environment): EffectiveValue[] {
  return Object.values<Setting<unknown>>(SETTINGS).map(({ variable, defaultText }) => {
    const given = environment[variable];
    if (!given) {
      return { variable, value: defaultText, origin: 'default' };
    }
    return { variable, value: SECRETS.has(variable) ? 'set' : given, origin: 'environment' };
  });
}

/** Octets that the path of a Unix socket may have (Linux 107, macOS 103). */
const MAX_SOCKET_PATH_OCTETS = 103;

/** What is wrong with settings that are each fine; those that are missing here have their own fault already. */
function faultsBetween(config: Partial<Config>): string[] {
  const faults: string[] = [];
  const { tlsCertificateFile, tlsKeyFile, services, dataDirectory } = config;
  if ((tlsCertificateFile === undefined) !== (tlsKeyFile === undefined)) {
    faults.push('TLS_CERT_FILE and TLS_KEY_FILE must be set both or neither');
  }
  const certificate = readTlsFile('TLS_CERT_FILE', tlsCertificateFile, faults);
  const key = readTlsFile('TLS_KEY_FILE', tlsKeyFile, faults);
  if (certificate && key && !belongTogether(certificate, key)) {
    faults.push('TLS_CERT_FILE and TLS_KEY_FILE must hold a certificate and its key, in PEM');
  }
  if (config.resolverUrl?.startsWith('http:') && config.allowPrivateDestinations === false) {
    faults.push('RESOLVER_URL must be https: what the resolver says must not change on its way');
  }
  // One that is wrong has its own fault: then the key is missing.
  if (config.objectStore === 'gcs' && 'gcsBucket' in config && config.gcsBucket === undefined) {
    faults.push('GCS_BUCKET must be set where OBJECT_STORE is gcs');
  }
  if (config.signals === 'redis' && 'redisUrl' in config && config.redisUrl === undefined) {
    faults.push('REDIS_URL must be set where SIGNALS is redis');
  }
  if (config.keys === 'gcp-kms' && 'kmsKeyRing' in config && config.kmsKeyRing === undefined) {
    faults.push('KMS_KEY_RING must be set where KEYS is gcp-kms');
  }
  if (services?.length === 0) {
    faults.push('SERVICES must name at least one service');
  }
  if (dataDirectory && Buffer.byteLength(controlSocketPath(dataDirectory)) > MAX_SOCKET_PATH_OCTETS) {
    faults.push('DATA_DIR is too long a path for the control socket in it');
  }
  faults.push(...sharedPorts(config), ...publicFaults(config));
  return faults;
}

/** What is fine on one machine, and must not be on a network. */
function publicFaults(config: Partial<Config>): string[] {
  const { bindHost: host, internetAddress, registrationPolicy, services = [] } = config;
  if (host === undefined || isLoopback(host) || !services.some((name) => PUBLIC_SERVICES.includes(name))) {
    return [];
  }
  const faults: string[] = [];
  if (internetAddress === SETTINGS.internetAddress.defaultText) {
    faults.push(`INTERNET_ADDRESS must be set where BIND_HOST is public (${host}): clients keep it for good`);
  }
  if (registrationPolicy === 'open') {
    for (const name of LIMITS) {
      if (config[name] === 0) {
        faults.push(
          `${SETTINGS[name].variable} must not be 0 where everybody may register and BIND_HOST is public (${host})`,
        );
      }
    }
  }
  return faults;
}

/** Two services of this process cannot listen on one port. */
function sharedPorts({ services = [], powebPort, pohttpPort, cogrpcPort, opsPort }: Partial<Config>): string[] {
  const used = new Map<number, string>();
  const faults: string[] = [];
  const take = (isUsed: boolean, variable: string, number: number | undefined) => {
    if (!isUsed || !number) {
      return;
    }
    const other = used.get(number);
    if (other) {
      faults.push(`${variable} and ${other} must differ: both are ${number}`);
    }
    used.set(number, variable);
  };
  take(services.includes('poweb') || services.includes('collection'), 'POWEB_PORT', powebPort);
  take(services.includes('pohttp'), 'POHTTP_PORT', pohttpPort);
  take(services.includes('cogrpc'), 'COGRPC_PORT', cogrpcPort);
  take(services.includes('ops'), 'OPS_PORT', opsPort);
  return faults;
}

/** Where commands reach the gateway that runs on this data directory; relative where that is shorter. */
export function controlSocketPath(dataDirectory: string): string {
  const absolute = path.resolve(dataDirectory, 'control.sock');
  const relative = path.relative('', absolute);
  return relative.length < absolute.length ? relative : absolute;
}

function readTlsFile(variable: string, file: string | undefined, faults: string[]): Buffer | undefined {
  try {
    return file === undefined ? undefined : readFileSync(file);
  } catch (error) {
    faults.push(`${variable} cannot be read: ${(error as Error).message}`);
    return undefined;
  }
}

function belongTogether(certificate: Buffer, key: Buffer): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}
