/** What a changed setting asks for: which services read it, and what else is to be known before it is changed. */
import { type Config, SERVICE_NAMES, SETTINGS, type ServiceName } from './settings.ts';

/** Settings that only some services read; each is read at the start. All others concern every service. */
const READ_BY: Partial<Readonly<Record<keyof Config, readonly ServiceName[]>>> = {
  powebPort: ['poweb', 'collection'],
  pohttpPort: ['pohttp'],
  cogrpcPort: ['cogrpc'],
  opsBindHost: ['ops'],
  opsPort: ['ops'],
  bindHost: ['poweb', 'collection', 'pohttp', 'cogrpc'],
  tlsCertificateFile: ['poweb', 'collection', 'pohttp', 'cogrpc'],
  tlsKeyFile: ['poweb', 'collection', 'pohttp', 'cogrpc'],
  trustedProxies: ['poweb', 'collection', 'pohttp', 'cogrpc'],
  bodiesInFlight: ['poweb', 'pohttp'],
  minUploadRate: ['poweb', 'pohttp'],
  collectionMaxAge: ['collection'],
  collectionsPerPeer: ['collection'],
  handshakesPerAddress: ['collection'],
  registrationsPerAddress: ['poweb'],
  signaturesPerSecond: ['poweb'],
  resolverUrl: ['worker'],
  allowPrivateDestinations: ['worker'],
  deliveriesPerDestination: ['worker'],
  cargoSize: ['cogrpc'],
  cargoCipher: ['cogrpc'],
  cargoCount: ['cogrpc'],
  cargoOctets: ['cogrpc'],
  courierCalls: ['cogrpc'],
  courierCallsPerConnection: ['cogrpc'],
  courierCallIdle: ['cogrpc'],
  courierConnectionIdle: ['cogrpc'],
  courierConnectionAge: ['cogrpc'],
};

/** Settings that lead to what is kept: changed, nothing of it comes along. */
const LEADS_TO: readonly (keyof Config)[] = [
  'dataDirectory',
  'objectStore',
  'gcsBucket',
  'records',
  'keys',
  'kmsKeyRing',
  'kmsIdentityKey',
  'kmsWrappingKey',
];

/** What is to be known of a change of this setting. */
export interface Consequence {
  /** Those that read it, which are to be restarted. */
  readonly services: readonly ServiceName[];
  /** A sentence; undefined where there is nothing more to be known. */
  readonly warning: string | undefined;
}

/** @param variable of a setting @returns undefined where there is no such setting */
export function consequenceOf(variable: string): Consequence | undefined {
  const [name] = Object.entries(SETTINGS).find(([, setting]) => setting.variable === variable) ?? [];
  if (name === undefined) {
    return undefined;
  }
  const setting = name as keyof Config;
  return { services: READ_BY[setting] ?? SERVICE_NAMES, warning: warningOf(setting, variable) };
}

function warningOf(setting: keyof Config, variable: string): string | undefined {
  if (setting === 'internetAddress') {
    return 'INTERNET_ADDRESS stays in registrations: every private gateway must register again.';
  }
  return LEADS_TO.includes(setting)
    ? `${variable} leads to what is kept: nothing that is there comes along.`
    : undefined;
}
