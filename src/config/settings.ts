/**
 * The table of settings: each with its variable, its default, and how its text is read.
 */
import path from 'node:path';
import {
  addressRange,
  anyText,
  bindHost,
  bucketName,
  databaseId,
  domainName,
  duration,
  headerList,
  hostAndPort,
  httpUrl,
  integer,
  keyName,
  keyRing,
  listOf,
  octets,
  oneOf,
  port,
  projectId,
  type ReadValue,
  recoveryPublicKey,
  redisUrl,
  serviceUrl,
  yesOrNo,
} from './values.ts';

/** Doors that this version has. */
export const SERVICE_NAMES = ['poweb', 'collection', 'pohttp', 'cogrpc', 'worker', 'ops'] as const;

export type ServiceName = (typeof SERVICE_NAMES)[number];

export interface Setting<Value> {
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

/** Less than the largest parcel, and some could never be delivered. */
const MAX_STORED_PARCEL = 16 * 1024 ** 2;

/** Android's courier takes no gRPC message of more than 4 MiB, its own framing included. In octets. */
export const MAX_SHARED_CARGO = 4 * 1024 ** 2 - 1024;

/** What RS-018 allows; deployed clients read those with CBC (protocol section 1). */
const CONTENT_CIPHERS = [
  'aes-128-cbc',
  'aes-192-cbc',
  'aes-256-cbc',
  'aes-128-gcm',
  'aes-192-gcm',
  'aes-256-gcm',
] as const;

export const SETTINGS = {
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
  storageEmulatorHost: optional('STORAGE_EMULATOR_HOST', serviceUrl),
  gcsMaxAge: setting('GCS_MAX_AGE', '180d', duration('1d', '180d')),
  records: setting('RECORDS', 'local', oneOf(['local', 'firestore'])),
  gcpProject: optional('GCP_PROJECT', projectId),
  firestoreDatabase: setting('FIRESTORE_DATABASE', '(default)', databaseId),
  firestoreEmulatorHost: optional('FIRESTORE_EMULATOR_HOST', hostAndPort),
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
  acmeDirectory: setting('ACME_DIRECTORY', 'https://acme-v02.api.letsencrypt.org/directory', httpUrl),
  acmeEmail: optional('ACME_EMAIL', anyText),
  acmeTermsAgreed: setting('ACME_TERMS_AGREED', 'false', yesOrNo),
  acmeHttpPort: setting('ACME_HTTP_PORT', '80', port),
  trustedProxies: setting('TRUSTED_PROXIES', '', listOf(addressRange)),

  logLevel: setting('LOG_LEVEL', 'info', oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])),
  logAddresses: setting('LOG_ADDRESSES', 'short', oneOf(['short', 'full'])),
  logMessageKey: setting('LOG_MESSAGE_KEY', 'msg', oneOf(['msg', 'message'])),
  otlpEndpoint: optional('OTEL_EXPORTER_OTLP_ENDPOINT', httpUrl),
  otlpHeaders: setting('OTEL_EXPORTER_OTLP_HEADERS', '', headerList),

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
  openCollectionsPerPeer: setting('OPEN_COLLECTIONS_PER_PEER', '8', integer(0, 100_000)),
  mailboxParcels: setting('MAILBOX_PARCELS', '10000', integer(1, 10_000_000)),
  mailboxOctets: setting('MAILBOX_OCTETS', '1GiB', octets(MAX_STORED_PARCEL)),
  outboxParcels: setting('OUTBOX_PARCELS', '10000', integer(1, 10_000_000)),
  outboxOctets: setting('OUTBOX_OCTETS', '1GiB', octets(MAX_STORED_PARCEL)),
  cargoCount: setting('CARGO_COUNT', '10000', integer(1, 10_000_000)),
  cargoOctets: setting('CARGO_OCTETS', '1GiB', octets(MAX_STORED_PARCEL)),
  cargoSize: setting('CARGO_SIZE', '1MiB', octets(16 * 1024, MAX_SHARED_CARGO)),
  cargoCipher: setting('CARGO_CIPHER', 'aes-128-cbc', oneOf(CONTENT_CIPHERS)),
  courierCalls: setting('COURIER_CALLS', '32', integer(1, 100_000)),
  courierCallsPerAddress: setting('COURIER_CALLS_PER_ADDRESS', '16', integer(0, 100_000)),
  courierCallsPerConnection: setting('COURIER_CALLS_PER_CONNECTION', '8', integer(1, 1000)),
  courierConnections: setting('COURIER_CONNECTIONS', '1000', integer(1, 1_000_000)),
  courierConnectionsPerAddress: setting('COURIER_CONNECTIONS_PER_ADDRESS', '250', integer(0, 1_000_000)),
  courierCallIdle: setting('COURIER_CALL_IDLE', '2m', duration('1s', '1h')),
  courierConnectionIdle: setting('COURIER_CONNECTION_IDLE', '60s', duration('1s', '1h')),
  courierConnectionAge: setting('COURIER_CONNECTION_AGE', '1h', duration('10s', '7d')),
  recoveryPublicKey: optional('RECOVERY_PUBLIC_KEY', recoveryPublicKey),
  journalOctets: setting('JOURNAL_OCTETS', '256MiB', octets(1024 ** 2)),
  startPatience: setting('START_PATIENCE', '60s', duration('0s', '1h')),
  stopLead: setting('STOP_LEAD', '0s', duration('0s', '10m')),
  gracePeriod: setting('GRACE_PERIOD', '25s', duration('0s', '1h')),
  housekeepingPeriod: setting('HOUSEKEEPING_PERIOD', '1m', duration('1s', '1h')),
};

/** Variables whose values are never shown. */
export const SECRETS: ReadonlySet<string> = new Set(['REDIS_URL', 'OTEL_EXPORTER_OTLP_HEADERS']);

type Settings = typeof SETTINGS;

/** The whole configuration; sizes in octets, times in milliseconds. */
export type Config = { readonly [Name in keyof Settings]: ReturnType<Settings[Name]['read']> };
