/**
 * What is wrong with settings together that are each fine.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Config, SETTINGS } from './settings.ts';
import { isLoopback } from './values.ts';

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
  'openCollectionsPerPeer',
  'courierCallsPerAddress',
  'courierConnectionsPerAddress',
] as const;

/** Octets that the path of a Unix socket may have (Linux 107, macOS 103). */
const MAX_SOCKET_PATH_OCTETS = 103;

/** The faults, each a sentence; settings that are missing here have their own fault already. */
export function faultsBetween(config: Partial<Config>): string[] {
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
  if (config.records === 'firestore' && 'gcpProject' in config && config.gcpProject === undefined) {
    faults.push('GCP_PROJECT must be set where RECORDS is firestore');
  }
  if (config.signals === 'redis' && 'redisUrl' in config && config.redisUrl === undefined) {
    faults.push('REDIS_URL must be set where SIGNALS is redis');
  }
  if (config.keys === 'gcp-kms' && 'kmsKeyRing' in config && config.kmsKeyRing === undefined) {
    faults.push('KMS_KEY_RING must be set where KEYS is gcp-kms');
  }
  if (config.stopLead && config.gracePeriod !== undefined && config.stopLead >= config.gracePeriod) {
    faults.push('STOP_LEAD must be shorter than GRACE_PERIOD, which it is a part of');
  }
  if (services?.length === 0) {
    faults.push('SERVICES must name at least one service');
  } else {
    faults.push(...splitFaults(config));
  }
  if (dataDirectory && Buffer.byteLength(controlSocketPath(dataDirectory)) > MAX_SOCKET_PATH_OCTETS) {
    faults.push('DATA_DIR is too long a path for the control socket in it');
  }
  faults.push(...sharedPorts(config), ...publicFaults(config));
  return faults;
}

/**
 * Services that only work together: parcels that come in by one go out by another, and nobody else can see what is kept
 * locally. The doors of Internet nodes and couriers, and the operators' port, may be left out.
 */
const INSEPARABLE = ['poweb', 'collection', 'worker'] as const;

/** Processes that share nothing would each take in parcels that no other ever hands out. */
function splitFaults(config: Partial<Config>): string[] {
  const { services = INSEPARABLE } = config;
  const kinds = localKinds(config);
  if (kinds.length === 0 || INSEPARABLE.every((name) => services.includes(name))) {
    return [];
  }
  return [
    `SERVICES must have ${INSEPARABLE.join(', ')} in one process where something is kept locally ` +
      `(${kinds.join(', ')}): to split them, set OBJECT_STORE=gcs, RECORDS=firestore, KEYS=gcp-kms and SIGNALS=redis`,
  ];
}

/** The variables of the backends that are local. */
export function localKinds(config: Partial<Pick<Config, 'objectStore' | 'records' | 'keys' | 'signals'>>): string[] {
  const kinds = ['objectStore', 'records', 'keys', 'signals'] as const;
  return kinds.filter((name) => config[name] === 'local').map((name) => SETTINGS[name].variable);
}

/** What is fine on one machine, and must not be on a network. */
function publicFaults(config: Partial<Config>): string[] {
  const { bindHost: host, internetAddress, registrationPolicy, services = [] } = config;
  if (host === undefined || isLoopback(host)) {
    return [];
  }
  const faults: string[] = [];
  if (config.allowPrivateDestinations) {
    // Whichever services this one runs: where they are split, the worker dials what another took.
    faults.push(
      `ALLOW_PRIVATE_DESTINATIONS must be false where BIND_HOST is public (${host}): ` +
        'whoever sends parcels could have this gateway call machines that only it reaches',
    );
  }
  if (!services.some((name) => PUBLIC_SERVICES.includes(name))) {
    return faults;
  }
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
