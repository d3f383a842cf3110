/** Key rings, keys and who may use them, in Cloud KMS. */
import { createPublicKey } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { KeyManagementServiceClient } from '@google-cloud/kms';
import { readRsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import { grpcPlace, unlessMissing, unlessThere } from './places.ts';
import { type FoundKey, type FoundVersion, isUsable } from './plan.ts';
import type { PolicyPlace } from './policies.ts';
import type { WantedKey } from './wants.ts';

type GetRequest = Parameters<KeyManagementServiceClient['getIamPolicy']>[0];
type SetRequest = Parameters<KeyManagementServiceClient['setIamPolicy']>[0];

/** How long a version may take to be generated, in milliseconds; those in an HSM take the longest. */
const GENERATION_BOUND = 120_000;
const GENERATION_LOOK = 500;

/** The code of gRPC for a policy that was changed meanwhile. */
const ABORTED = 10;

export class KeyRings implements AsyncDisposable {
  private readonly client: KeyManagementServiceClient;

  /** @param endpoint elsewhere than at Google */
  constructor(endpoint: string | undefined) {
    this.client = new KeyManagementServiceClient(grpcPlace(endpoint));
  }

  async has(ring: string): Promise<boolean> {
    return (await unlessMissing(this.client.getKeyRing({ name: ring }))) !== undefined;
  }

  async create(ring: string): Promise<void> {
    const [parent, keyRingId] = split(ring, '/keyRings/');
    await unlessThere(this.client.createKeyRing({ parent, keyRingId, keyRing: {} }));
  }

  /** With its versions. */
  async key(name: string): Promise<FoundKey | undefined> {
    const answer = await unlessMissing(this.client.getCryptoKey({ name }));
    if (!answer) {
      return undefined;
    }
    const [{ purpose, versionTemplate, rotationPeriod, labels, primary }] = answer;
    const [versions] = await this.client.listCryptoKeyVersions({ parent: name });
    return {
      purpose: String(purpose),
      algorithm: String(versionTemplate?.algorithm),
      protection: String(versionTemplate?.protectionLevel),
      rotation: rotationPeriod ? Number(rotationPeriod.seconds) : undefined,
      labels: labels ?? {},
      primary: primary ? String(primary.state) : undefined,
      versions: await Promise.all(versions.map((version) => this.version(version, purpose === 'ASYMMETRIC_SIGN'))),
    };
  }

  /** @param now milliseconds, from which its first rotation counts */
  async createKey({ name, purpose, algorithm, protection, rotation, labels }: WantedKey, now: number): Promise<void> {
    const [parent, cryptoKeyId] = split(name, '/cryptoKeys/');
    const cryptoKey = {
      purpose,
      labels: { ...labels },
      versionTemplate: { algorithm: algorithm as 'RSA_SIGN_PSS_2048_SHA256', protectionLevel: protection },
      ...(rotation !== undefined && {
        rotationPeriod: { seconds: rotation },
        nextRotationTime: { seconds: Math.floor(now / 1000) + rotation },
      }),
    };
    await unlessThere(this.client.createCryptoKey({ parent, cryptoKeyId, cryptoKey }));
  }

  /** Makes a version that can be used where there is none, and has a symmetric key encrypt with it. */
  async ensureVersion(key: string): Promise<void> {
    const there = await this.key(key);
    let version = there?.versions.find(({ state }) => isUsable(state))?.name;
    if (version === undefined) {
      const [made] = await this.client.createCryptoKeyVersion({ parent: key, cryptoKeyVersion: {} });
      version = String(made.name);
    }
    await this.generated(version);
    if (there?.purpose === 'ENCRYPT_DECRYPT' && !isUsable(there.primary ?? '')) {
      const cryptoKeyVersionId = version.slice(version.lastIndexOf('/') + 1);
      await this.client.updateCryptoKeyPrimaryVersion({ name: key, cryptoKeyVersionId });
    }
  }

  /** Schedules the destruction of a version, which can be taken back for 30 days. */
  async destroyVersion(name: string): Promise<void> {
    await this.client.destroyCryptoKeyVersion({ name });
  }

  /** @param resource the full name of a key ring or a key */
  policy(resource: string): PolicyPlace {
    return {
      read: async () => {
        const [{ version, etag, bindings }] = await this.client.getIamPolicy({
          resource,
          options: { requestedPolicyVersion: 3 },
        } as GetRequest);
        return {
          version: version ?? 0,
          etag: Buffer.from((etag ?? '') as Uint8Array).toString('base64'),
          bindings: (bindings ?? []).map(({ role, members, condition }) => ({
            role: String(role),
            members: members ?? [],
            ...(condition && {
              condition: { title: String(condition.title), expression: String(condition.expression) },
            }),
          })),
        };
      },
      write: async ({ version, etag, bindings }) => {
        const policy = {
          version,
          etag: Buffer.from(etag, 'base64'),
          bindings: bindings.map(({ role, members, condition }) => ({
            role,
            members: [...members],
            ...(condition && { condition: { ...condition } }),
          })),
        };
        try {
          await this.client.setIamPolicy({ resource, policy } as unknown as SetRequest);
          return true;
        } catch (error) {
          if ((error as { code?: unknown }).code === ABORTED) {
            return false;
          }
          throw error;
        }
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }

  /** Resolves when the version is no longer in the making. */
  private async generated(name: string): Promise<void> {
    for (const end = performance.now() + GENERATION_BOUND; ; ) {
      const [{ state }] = await this.client.getCryptoKeyVersion({ name });
      if (state !== 'PENDING_GENERATION') {
        return;
      }
      if (performance.now() > end) {
        throw new Error(`${name} is still being generated: run it again later`);
      }
      await delay(GENERATION_LOOK);
    }
  }

  private async version(
    { name, state, algorithm }: { name?: string | null; state?: unknown; algorithm?: unknown },
    isIdentity: boolean,
  ): Promise<FoundVersion> {
    const nodeId = isIdentity && state === 'ENABLED' ? await this.nodeId(String(name)) : undefined;
    return { name: String(name), state: String(state), algorithm: String(algorithm), nodeId };
  }

  private async nodeId(version: string): Promise<string> {
    const [{ pem }] = await this.client.getPublicKey({ name: version });
    return readRsaPublicKey(createPublicKey(String(pem)).export({ type: 'spki', format: 'der' })).nodeId;
  }
}

function split(name: string, at: string): [string, string] {
  const index = name.indexOf(at);
  return [name.slice(0, index), name.slice(index + at.length)];
}
