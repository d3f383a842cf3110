/** What an environment's file asks for, as single things that are there or not. */
import { type Labels, ownerLabels } from '../backends/gcp/kms/key-labels.ts';
import { RECORD_KINDS } from '../gateway/ports.ts';
import { type Component, componentsOf, type Environment, type RequiredKey } from './environment.ts';

/**
 * After how many days a message that expired is deleted. Not 0: whether a day that has only begun counts as elapsed is the
 * service's to say, and no message may go early.
 */
const LIFECYCLE_DAYS = 1;

/**
 * What each component uses besides the records, which all read and write. Those sign that also keep house
 * (`src/compose/issuing.ts`); those wrap that have to do with cargo or registrations; all that run the gateway know both
 * keys and move messages.
 */
const USES: Readonly<Record<Component, readonly ('keys' | 'signing' | 'wrapping' | 'messages')[]>> = {
  poweb: ['keys', 'signing', 'wrapping', 'messages'],
  collection: ['keys', 'messages'],
  pohttp: ['keys', 'messages'],
  cogrpc: ['keys', 'signing', 'wrapping', 'messages'],
  worker: ['keys', 'signing', 'wrapping', 'messages'],
  ops: ['keys', 'messages'],
  firstCertificate: ['keys', 'signing', 'wrapping', 'messages'],
  single: ['messages'],
  backup: [],
};

/** The title of the conditions under which auditors' bindings end. */
export const AUDIT_TITLE = 'relay-gateway audit';

/** A condition of IAM, by which a binding ends. */
export interface Condition {
  readonly title: string;
  readonly expression: string;
}

/** A role on a resource, for principals. */
export interface WantedBinding {
  readonly kind: 'binding';
  /** As in `policies` of what was found. */
  readonly resource: string;
  readonly role: string;
  readonly members: readonly string[];
  readonly condition: Condition | undefined;
}

export interface WantedBucket {
  readonly kind: 'bucket';
  readonly name: string;
  readonly location: string;
  readonly labels: Labels;
  readonly lifecycleDays: number;
}

export interface WantedKey {
  readonly kind: 'key';
  readonly name: string;
  readonly purpose: 'ASYMMETRIC_SIGN' | 'ENCRYPT_DECRYPT';
  readonly algorithm: string;
  readonly protection: RequiredKey['protection'];
  /** Seconds. */
  readonly rotation: number | undefined;
  readonly labels: Labels;
}

export type Want =
  | { readonly kind: 'key ring'; readonly name: string }
  | WantedKey
  /** A version of the key that can be used. */
  | { readonly kind: 'key version'; readonly name: string }
  | WantedBucket
  | { readonly kind: 'database'; readonly name: string; readonly location: string }
  /** A TTL policy, and no indexes of the fields that nobody searches. */
  | { readonly kind: 'collection'; readonly name: string }
  | WantedBinding;

/** Someone who may look at everything but messages until a date. */
export interface Auditor {
  readonly principal: string;
  /** Milliseconds. */
  readonly until: number;
}

/** In the order in which they can be made. */
export function wantsOf(environment: Environment, auditor?: Auditor): Want[] {
  const { name: environmentName, internetAddress, project, location, keys, bucket, database } = environment;
  // By its keys' labels a gateway knows whether they are its own.
  const owner = ownerLabels({ internetAddress, bucket, database: { project, id: database } });
  const labels = { environment: environmentName, 'internet-address': owner['internet-address'] };
  const ring = ringName(environment);
  return [
    ...(environment.areKeysLocal ? [] : [{ kind: 'key ring' as const, name: ring }]),
    ...keys.flatMap(({ name, use, algorithm, protection, rotation }): Want[] => {
      const key = `${ring}/cryptoKeys/${name}`;
      const purpose = use === 'identity' ? 'ASYMMETRIC_SIGN' : 'ENCRYPT_DECRYPT';
      const seconds = rotation === undefined ? undefined : rotation / 1000;
      return [
        { kind: 'key', name: key, purpose, algorithm, protection, rotation: seconds, labels: { ...labels, ...owner } },
        { kind: 'key version', name: key },
      ];
    }),
    { kind: 'bucket', name: bucket, location, labels, lifecycleDays: LIFECYCLE_DAYS },
    { kind: 'database', name: databaseName(environment), location },
    ...RECORD_KINDS.map((name): Want => ({ kind: 'collection', name })),
    ...bindings(environment, ring),
    ...(auditor ? auditorBindings(auditor, project, environment.areKeysLocal ? undefined : ring) : []),
  ];
}

function bindings(environment: Environment, ring: string): WantedBinding[] {
  const { administrators, accounts, namespace, project, projectNumber, keys, bucket, database } = environment;
  const memberOf = (component: Component) =>
    `principal://iam.googleapis.com/projects/${projectNumber}/locations/global/workloadIdentityPools/` +
    `${project}.svc.id.goog/subject/ns/${namespace}/sa/${accounts[component]}`;
  const using = (what: (typeof USES)[Component][number]) =>
    componentsOf(environment)
      .filter((component) => USES[component].includes(what))
      .map(memberOf);
  const knowing = using('keys');
  return [
    ...(administrators.length > 0 ? [bind(ring, 'roles/cloudkms.admin', administrators)] : []),
    ...keys.flatMap(({ name, use }) => {
      const key = `${ring}/cryptoKeys/${name}`;
      return [
        ...(use === 'identity'
          ? [bind(key, 'roles/cloudkms.signer', using('signing')), bind(key, 'roles/cloudkms.publicKeyViewer', knowing)]
          : [bind(key, 'roles/cloudkms.cryptoKeyEncrypterDecrypter', using('wrapping'))]),
        // Each that runs the gateway looks at both keys when it starts.
        bind(key, 'roles/cloudkms.viewer', knowing),
      ];
    }),
    bind(`gs://${bucket}`, 'roles/storage.objectUser', using('messages')),
    bind(`projects/${project}`, 'roles/datastore.user', componentsOf(environment).map(memberOf), {
      title: `relay-gateway ${database}`,
      expression: `resource.name == "${databaseName(environment)}"`,
    }),
  ];
}

function bind(resource: string, role: string, members: readonly string[], condition?: Condition): WantedBinding {
  return { kind: 'binding', resource, role, members, condition };
}

function auditorBindings({ principal, until }: Auditor, project: string, ring: string | undefined): WantedBinding[] {
  const end = new Date(until).toISOString().replace(/\.\d+Z$/, 'Z');
  const condition = { title: AUDIT_TITLE, expression: `request.time < timestamp("${end}")` };
  const onRing = ['roles/cloudkms.viewer', 'roles/cloudkms.publicKeyViewer'];
  return [
    ...(ring === undefined ? [] : onRing.map((role) => bind(ring, role, [principal], condition))),
    // It tells of all rights, and lists no objects, as roles/iam.securityReviewer does, whose metadata name people.
    bind(`projects/${project}`, 'roles/cloudasset.viewer', [principal], condition),
  ];
}

/** The full name of the key ring. */
export function ringName({ project, location, keyRing }: Environment): string {
  return `projects/${project}/locations/${location}/keyRings/${keyRing}`;
}

/** The full name of the database. */
export function databaseName({ project, database }: Environment): string {
  return `projects/${project}/databases/${database}`;
}
