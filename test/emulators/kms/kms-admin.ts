/** Of the KMS emulator, what administrators ask: key rings, primary versions, policies; and who may ask what. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  type GrpcObject,
  loadPackageDefinition,
  type Metadata,
  type ServiceClientConstructor,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import { type EmulatedBinding, Policies, principalOf } from '../iam.ts';
import { type EmulatedKey, type EmulatedVersion, type KeyStore, Refusal } from './key-store.ts';

type Message = Record<string, unknown>;

/** Names of the methods that only administrators call. */
export type AdminMethod =
  | 'GetKeyRing'
  | 'CreateKeyRing'
  | 'UpdateCryptoKeyPrimaryVersion'
  | 'DestroyCryptoKeyVersion'
  | 'GetIamPolicy'
  | 'SetIamPolicy';

const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;
const PERMISSION_DENIED = 7;
const ABORTED = 10;

/** https://cloud.google.com/kms/docs/reference/permissions-and-roles */
const PERMISSIONS: Readonly<Record<string, string>> = {
  GetKeyRing: 'keyRings.get',
  CreateKeyRing: 'keyRings.create',
  GetCryptoKey: 'cryptoKeys.get',
  CreateCryptoKey: 'cryptoKeys.create',
  UpdateCryptoKeyPrimaryVersion: 'cryptoKeys.update',
  GetCryptoKeyVersion: 'cryptoKeyVersions.get',
  ListCryptoKeyVersions: 'cryptoKeyVersions.list',
  CreateCryptoKeyVersion: 'cryptoKeyVersions.create',
  GetPublicKey: 'cryptoKeyVersions.viewPublicKey',
  DestroyCryptoKeyVersion: 'cryptoKeyVersions.destroy',
  AsymmetricSign: 'cryptoKeyVersions.useToSign',
  Encrypt: 'cryptoKeyVersions.useToEncrypt',
  Decrypt: 'cryptoKeyVersions.useToDecrypt',
};

export class KmsAdmin {
  readonly policies = new Policies();
  readonly methods: Readonly<Record<AdminMethod, (request: Message) => Message>>;
  private readonly store: KeyStore;
  private readonly rings = new Set<string>();

  constructor(store: KeyStore) {
    this.store = store;
    this.methods = {
      GetKeyRing: ({ name }) => ({ name: this.ring(String(name)) }),
      CreateKeyRing: ({ parent, keyRingId }) => this.createRing(`${parent}/keyRings/${keyRingId}`),
      UpdateCryptoKeyPrimaryVersion: ({ name, cryptoKeyVersionId }) => {
        const key = this.store.key(String(name));
        key.primary = this.store.enabled(`${name}/cryptoKeyVersions/${cryptoKeyVersionId}`).name;
        return keyMessage(this.store, key);
      },
      DestroyCryptoKeyVersion: ({ name }) => {
        const version = this.store.version(String(name));
        version.state = 'DESTROY_SCHEDULED';
        return versionMessage(version);
      },
      GetIamPolicy: ({ resource }) => policyMessage(this.policies.get(this.present(String(resource)))),
      SetIamPolicy: ({ resource, policy }) => this.setPolicy(String(resource), policy as Message),
    };
  }

  /** @throws Refusal PERMISSION_DENIED, where a principal that the request names may not do that */
  assertAllowed(method: string, request: Message, metadata: Metadata): void {
    const resource = String(request['name'] ?? request['resource'] ?? request['parent'] ?? '');
    const kind = resource.includes('/cryptoKeys/') ? 'cryptoKeys' : 'keyRings';
    const action = method.replace('I', 'i').replace(/^[GS]/, (letter) => letter.toLowerCase());
    const permission = `cloudkms.${PERMISSIONS[method] ?? `${kind}.${action.replace('iam', 'Iam')}`}`;
    const principal = principalOf(metadata.get('authorization')[0]?.toString());
    if (!this.policies.allows(principal, permission, ancestryOf(resource))) {
      throw new Refusal(PERMISSION_DENIED, `Permission '${permission}' denied on resource '${resource}'.`);
    }
  }

  /** @throws Refusal */
  assertNew(key: string): void {
    this.ring(key.split('/cryptoKeys/')[0] ?? '');
    if (this.store.has(key)) {
      throw new Refusal(ALREADY_EXISTS, `CryptoKey ${key} already exists.`);
    }
  }

  /** A key ring that a deployment made. */
  addRing(name: string): void {
    this.rings.add(name);
  }

  private createRing(name: string): Message {
    if (this.rings.has(name)) {
      throw new Refusal(ALREADY_EXISTS, `KeyRing ${name} already exists.`);
    }
    this.rings.add(name);
    return { name };
  }

  private ring(name: string): string {
    if (!this.rings.has(name)) {
      throw new Refusal(NOT_FOUND, `KeyRing ${name} not found.`);
    }
    return name;
  }

  private present(resource: string): string {
    return resource.includes('/cryptoKeys/') ? this.store.key(resource).name : this.ring(resource);
  }

  private setPolicy(resource: string, { version, etag, bindings }: Message): Message {
    const policy = this.policies.set(this.present(resource), {
      version: Number(version),
      etag: Buffer.from(etag as Buffer).toString('base64'),
      bindings: bindings as EmulatedBinding[],
    });
    if (!policy) {
      throw new Refusal(ABORTED, 'There were concurrent policy changes. Please retry the whole read-modify-write.');
    }
    return policyMessage(policy);
  }
}

function policyMessage({ version, etag, bindings }: { version: number; etag: string; bindings: unknown }): Message {
  return { version, etag: Buffer.from(etag, 'base64'), bindings };
}

/** A resource and what it lies in: version, key, key ring, project. */
function ancestryOf(resource: string): string[] {
  const parts = ['/cryptoKeyVersions/', '/cryptoKeys/', '/keyRings/', '/locations/'];
  return [resource, ...parts.filter((part) => resource.includes(part)).map((part) => resource.split(part)[0] ?? '')];
}

/** The service by which policies are read and written, as all of Google's gRPC services have it. */
export function iamService(): ServiceDefinition {
  // The package does not export it.
  const file = path.join(import.meta.dirname, '../../../node_modules/google-gax/build/protos/iam_service.json');
  const protos = JSON.parse(readFileSync(file, 'utf8'));
  const definition = fromJSON(protos, { longs: String, enums: String, defaults: true, oneofs: true });
  const { IAMPolicy } = (loadPackageDefinition(definition) as unknown as { google: { iam: { v1: GrpcObject } } }).google
    .iam.v1;
  return (IAMPolicy as ServiceClientConstructor).service;
}

export function keyMessage(store: KeyStore, key: EmulatedKey): Message {
  const { name, purpose, algorithm, traits } = key;
  const primary = purpose === 'ENCRYPT_DECRYPT' ? store.primary(key) : undefined;
  const { labels, rotationPeriod, protectionLevel = 'SOFTWARE' } = traits;
  return {
    ...{ name, purpose, labels, rotationPeriod },
    versionTemplate: { algorithm, protectionLevel },
    ...(primary && { primary: versionMessage(primary) }),
  };
}

export function versionMessage({ name, state, algorithm }: EmulatedVersion): Message {
  return { name, state, algorithm, protectionLevel: 'SOFTWARE' };
}
