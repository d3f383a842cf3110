/**
 * The file of an environment: what is to be there in the cloud, and for whom. Read once, checked whole.
 */
import { parse } from 'yaml';
import {
  bucketName,
  databaseId,
  domainName,
  duration,
  keyName,
  oneOf,
  projectId,
  type ReadValue,
  serviceUrl,
  ValueError,
} from '../config/values.ts';

export const ENVIRONMENT_NAMES = ['development', 'staging', 'production'] as const;

export type EnvironmentName = (typeof ENVIRONMENT_NAMES)[number];

/** What has pods of its own, be it for a Job, and so an account of its own. */
export const COMPONENTS = [
  'poweb',
  'collection',
  'pohttp',
  'cogrpc',
  'worker',
  'ops',
  'firstCertificate',
  'backup',
] as const;

/** Where keys are local the gateway is one pod, beside whose volume backups are made. */
const COMPONENTS_OF_ONE_POD = ['single', 'backup'] as const;

export type Component = (typeof COMPONENTS)[number] | 'single';

/** Those that an environment has. */
export function componentsOf({ areKeysLocal }: Pick<Environment, 'areKeysLocal'>): readonly Component[] {
  return areKeysLocal ? COMPONENTS_OF_ONE_POD : COMPONENTS;
}

/** Algorithms of a key that signs, as in KMS_IDENTITY_KEY. */
const SIGNING_ALGORITHMS = [
  'RSA_SIGN_PSS_2048_SHA256',
  'RSA_SIGN_PSS_3072_SHA256',
  'RSA_SIGN_PSS_4096_SHA256',
] as const;

/** A key that must be there. */
export interface RequiredKey {
  readonly name: string;
  readonly use: 'identity' | 'wrapping';
  /** `GOOGLE_SYMMETRIC_ENCRYPTION` for wrapping. */
  readonly algorithm: string;
  readonly protection: 'SOFTWARE' | 'HSM';
  /** Milliseconds; of a key that wraps. */
  readonly rotation: number | undefined;
}

export interface Environment {
  readonly name: EnvironmentName;
  readonly internetAddress: string;
  /** The public host of each door. */
  readonly hosts: Readonly<Record<'poweb' | 'pohttp' | 'cogrpc', string>>;
  readonly project: string;
  readonly projectNumber: string;
  readonly location: string;
  /** Whether the keys are on the volume of the one pod; of development only. There is no key ring then. */
  readonly areKeysLocal: boolean;
  readonly keyRing: string;
  /** In Cloud KMS. */
  readonly keys: readonly RequiredKey[];
  readonly bucket: string;
  readonly database: string;
  readonly redis: {
    /** Of Memorystore, for people. */
    readonly instance: string;
    /** Where in Kubernetes its URL is. */
    readonly secret: { readonly name: string; readonly key: string };
  };
  /** Of Kubernetes. */
  readonly namespace: string;
  /** Of kubectl: the cluster that it is in; undefined: it cannot be stopped from here. */
  readonly context: string | undefined;
  /** The Kubernetes service account of each component that it has. */
  readonly accounts: Readonly<Record<Component, string>>;
  /** Principals that may make keys, and not sign. */
  readonly administrators: readonly string[];
  /** The day, YYYY-MM-DD, until whose end it may be taken down; undefined: it may not. */
  readonly removableUntil: string | undefined;
  /** Where services are if not at Google's; `http://` without credentials, for emulators. */
  readonly endpoints: Readonly<Partial<Record<'kms' | 'storage' | 'firestore' | 'resourceManager', string>>>;
}

/** An environment's file that cannot be used; has every fault. */
export class EnvironmentError extends Error {
  override readonly name = 'EnvironmentError';
  readonly faults: readonly string[];

  constructor(file: string, faults: readonly string[]) {
    super(`${file} cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.faults = faults;
  }
}

const ACCOUNT = pattern(/^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/, 'a name in Kubernetes, such as relay-gateway');
const PRINCIPAL = pattern(
  /^(user|group|serviceAccount|principal|principalSet):[^\s,]{3,500}$/,
  'a principal such as group:keys@example.org',
);
const CONTEXT = pattern(/^[\w.:@/-]{1,253}$/, 'a context of kubectl: kubectl config get-contexts tells them');
const LOCATION = pattern(/^[a-z]+(-[a-z]+\d*)*$/, 'a location such as europe-west1');
const RING = pattern(/^[\w-]{1,63}$/, 'the name of a key ring (letters, digits, _ and -)');
const KEY_OF_SECRET = pattern(/^[-._a-zA-Z0-9]{1,253}$/, 'a key of a Secret');
const INSTANCE = pattern(
  /^projects\/[^/\s]+\/locations\/[^/\s]+\/(instances|clusters)\/[^/\s]+$/,
  'an instance of Memorystore: projects/PROJECT/locations/LOCATION/instances/NAME',
);
const DAY = pattern(/^\d{4}-\d{2}-\d{2}$/, 'a day: YYYY-MM-DD');
const PROJECT_NUMBER = pattern(/^\d{4,20}$/, 'the number of the project: gcloud projects describe tells it');

/** Read a principal of IAM. @throws ValueError */
export const principal: ReadValue<string> = PRINCIPAL;

/**
 * @param file its name, for messages
 * @param expectedName the environment that it must be
 * @throws EnvironmentError with every fault at once
 */
export function readEnvironment(file: string, text: string, expectedName?: string): Environment {
  let document: unknown;
  try {
    document = parse(text, { maxAliasCount: 0 });
  } catch (error) {
    throw new EnvironmentError(file, [`is no YAML: ${(error as Error).message.split('\n')[0]}`]);
  }
  const faults: string[] = [];
  const root = new Section('', document, faults);
  const name = root.text('name', oneOf(ENVIRONMENT_NAMES));
  const accounts = root.section('accounts');
  const hosts = root.section('hosts');
  const redis = root.section('redis');
  const secret = redis.section('secret');
  const areKeysLocal = root.is('keys', 'local');
  const endpoints = root.has('endpoints') ? root.section('endpoints') : new Section('endpoints', {}, faults);
  const environment = {
    name,
    internetAddress: root.text('internetAddress', domainName),
    hosts: hosts.texts(['poweb', 'pohttp', 'cogrpc'], domainName),
    project: root.text('project', projectId),
    projectNumber: root.text('projectNumber', PROJECT_NUMBER),
    location: root.text('location', LOCATION),
    areKeysLocal,
    keyRing: areKeysLocal ? '' : root.text('keyRing', RING),
    keys: areKeysLocal ? [] : root.list('keys', readKey),
    bucket: root.text('bucket', bucketName),
    database: root.text('database', databaseId),
    redis: {
      instance: redis.text('instance', INSTANCE),
      secret: { name: secret.text('name', ACCOUNT), key: secret.text('key', KEY_OF_SECRET) },
    },
    namespace: root.text('namespace', ACCOUNT),
    context: root.has('context') ? root.text('context', CONTEXT) : undefined,
    accounts: accounts.texts(componentsOf({ areKeysLocal }), ACCOUNT),
    administrators: !areKeysLocal && root.has('administrators') ? root.values('administrators', PRINCIPAL) : [],
    removableUntil: root.has('removableUntil') ? root.text('removableUntil', DAY) : undefined,
    endpoints: Object.fromEntries(
      (['kms', 'storage', 'firestore', 'resourceManager'] as const)
        .filter((service) => endpoints.has(service))
        .map((service) => [service, endpoints.text(service, serviceUrl)]),
    ),
  } as unknown as Environment;
  for (const section of [root, accounts, hosts, redis, secret, endpoints]) {
    section.refuseOthers();
  }
  if (expectedName !== undefined && name !== undefined && name !== expectedName) {
    faults.push(`name must be ${expectedName}, not ${name}`);
  }
  faults.push(
    ...(areKeysLocal ? localFaults(name) : keyFaults(environment.keys)),
    ...accountFaults(environment.accounts),
  );
  if (faults.length > 0) {
    throw new EnvironmentError(file, faults);
  }
  return environment;
}

function readKey(section: Section): RequiredKey {
  const use = section.text('use', oneOf(['identity', 'wrapping']));
  const key = {
    name: section.text('name', keyName),
    use,
    algorithm:
      use === 'wrapping' ? 'GOOGLE_SYMMETRIC_ENCRYPTION' : section.text('algorithm', oneOf(SIGNING_ALGORITHMS)),
    protection: section.text('protection', oneOf(['SOFTWARE', 'HSM'])),
    rotation: use === 'wrapping' ? section.text('rotation', duration('1d', '366d')) : undefined,
  };
  section.refuseOthers();
  return key as RequiredKey;
}

/** A pod and its volume are all that has such keys: with either lost, the node id is. */
function localFaults(name: EnvironmentName | undefined): string[] {
  return name === undefined || name === 'development' ? [] : ['keys may be local in development only'];
}

function keyFaults(keys: readonly RequiredKey[]): string[] {
  const faults = (['identity', 'wrapping'] as const)
    .filter((use) => keys.filter((key) => key.use === use).length !== 1)
    .map((use) => `keys must have exactly one whose use is ${use}`);
  const isTwice = new Set(keys.map(({ name }) => name)).size < keys.length;
  return isTwice ? [...faults, 'keys must have different names'] : faults;
}

/** Shared, an account would have what either needs. */
function accountFaults(accounts: Environment['accounts']): string[] {
  const names = Object.values(accounts).filter((name) => name !== undefined);
  return new Set(names).size < names.length ? ['accounts must be different ones: each has only what it uses'] : [];
}

function pattern(expression: RegExp, what: string): ReadValue<string> {
  return (text) => {
    if (!expression.test(text)) {
      throw new ValueError(`must be ${what}, not "${text}"`);
    }
    return text;
  };
}

/** A mapping of the file. What is wrong with it goes into the faults, and reading goes on. */
class Section {
  private readonly place: string;
  private readonly map: Readonly<Record<string, unknown>>;
  private readonly faults: string[];
  private readonly known = new Set<string>();

  constructor(place: string, value: unknown, faults: string[]) {
    this.place = place;
    this.faults = faults;
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isMap && value !== undefined) {
      faults.push(`${place || 'It'} must have fields`);
    }
    this.map = isMap ? (value as Record<string, unknown>) : {};
  }

  has(field: string): boolean {
    return this.map[field] !== undefined && this.map[field] !== null;
  }

  is(field: string, text: string): boolean {
    const isSo = this.map[field] === text;
    if (isSo) {
      this.known.add(field);
    }
    return isSo;
  }

  /** Undefined where there is a fault. */
  text<Value>(field: string, read: ReadValue<Value>): Value | undefined {
    return this.read(this.nameOf(field), this.take(field), read);
  }

  texts<Field extends string, Value>(fields: readonly Field[], read: ReadValue<Value>) {
    return Object.fromEntries(fields.map((field) => [field, this.text(field, read)]));
  }

  section(field: string): Section {
    if (!this.has(field)) {
      this.faults.push(`${this.nameOf(field)} must be there`);
    }
    return new Section(this.nameOf(field), this.take(field) ?? {}, this.faults);
  }

  list<Value>(field: string, read: (section: Section) => Value): Value[] {
    return this.entries(field).map((entry, index) =>
      read(new Section(`${this.nameOf(field)}[${index}]`, entry ?? 'nothing', this.faults)),
    );
  }

  values<Value>(field: string, read: ReadValue<Value>): (Value | undefined)[] {
    return this.entries(field).map((entry, index) => this.read(`${this.nameOf(field)}[${index}]`, entry, read));
  }

  refuseOthers(): void {
    for (const field of Object.keys(this.map).filter((name) => !this.known.has(name))) {
      this.faults.push(`${this.nameOf(field)} is no field`);
    }
  }

  private entries(field: string): unknown[] {
    const value = this.take(field);
    if (!Array.isArray(value)) {
      this.faults.push(`${this.nameOf(field)} must be a list`);
      return [];
    }
    return value;
  }

  private take(field: string): unknown {
    this.known.add(field);
    return this.map[field];
  }

  private read<Value>(place: string, value: unknown, read: ReadValue<Value>): Value | undefined {
    if (value === undefined || value === null || typeof value === 'object') {
      this.faults.push(`${place} must be ${value === undefined || value === null ? 'there' : 'a text'}`);
      return undefined;
    }
    try {
      return read(String(value));
    } catch (error) {
      if (!(error instanceof ValueError)) {
        throw error;
      }
      this.faults.push(`${place} ${error.message}`);
      return undefined;
    }
  }

  private nameOf(field: string): string {
    return this.place === '' ? field : `${this.place}.${field}`;
  }
}
