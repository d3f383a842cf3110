/**
 * Policies of IAM as the emulators keep and enforce them.
 *
 * Who asks is the bearer token itself. A request without one is the owner's, who may do everything, as with the vendor's
 * own emulators.
 */

export interface EmulatedBinding {
  role: string;
  members: string[];
  condition?: { title: string; expression: string } | null;
}

export interface EmulatedPolicy {
  version: number;
  etag: string;
  bindings: EmulatedBinding[];
}

/** What the roles that the gateway's people have may do: https://cloud.google.com/iam/docs/roles-permissions */
const ROLES: Readonly<Record<string, RegExp>> = {
  'roles/cloudkms.admin':
    /^cloudkms\.(keyRings|cryptoKeys|cryptoKeyVersions)\.(create|get|list|update|destroy|restore|getIamPolicy|setIamPolicy)$/,
  'roles/cloudkms.viewer': /^cloudkms\.(keyRings|cryptoKeys|cryptoKeyVersions)\.(get|list)$/,
  'roles/cloudkms.signer': /^cloudkms\.cryptoKeyVersions\.useToSign$/,
  'roles/cloudkms.publicKeyViewer': /^cloudkms\.cryptoKeyVersions\.viewPublicKey$/,
  'roles/cloudkms.cryptoKeyEncrypterDecrypter': /^cloudkms\.cryptoKeyVersions\.useTo(Encrypt|Decrypt)$/,
  'roles/storage.objectUser': /^storage\.objects\.(create|delete|get|list|update)$/,
  'roles/datastore.user':
    /^datastore\.(entities\.(get|list|create|update|delete)|databases\.(get|getMetadata|list)|indexes\.list)$/,
  'roles/cloudasset.viewer': /^cloudasset\.assets\./,
};

export class Policies {
  /** What each principal was let do, and what not, as audit logs tell: `PERMISSION on RESOURCE`. */
  readonly allowed = new Map<string, Set<string>>();
  readonly denied = new Map<string, Set<string>>();
  /** The clock by which conditions end, in milliseconds. */
  now: () => number = Date.now;
  private readonly policies = new Map<string, EmulatedPolicy>();
  private writes = 0;

  get(resource: string): EmulatedPolicy {
    return structuredClone(this.policies.get(resource) ?? { version: 1, etag: 'BwAAAAA=', bindings: [] });
  }

  /**
   * https://cloud.google.com/iam/docs/policies#etag: a policy that was changed meanwhile is not written. Conditions need
   * version 3.
   *
   * @returns undefined when the etag is not the current one
   */
  set(resource: string, { etag, version, bindings }: EmulatedPolicy): EmulatedPolicy | undefined {
    if (etag !== '' && etag !== this.get(resource).etag) {
      return undefined;
    }
    if (version < 3 && bindings.some(({ condition }) => condition)) {
      throw new Error('Conditions need version 3');
    }
    this.writes++;
    const next = Buffer.from(`etag-${this.writes}`).toString('base64');
    this.policies.set(resource, structuredClone({ version, etag: next, bindings }));
    return this.get(resource);
  }

  /** Whether the principal has a permission on a resource, be it by a policy of what that lies in. */
  allows(principal: string | undefined, permission: string, ancestry: readonly string[]): boolean {
    if (principal === undefined) {
      return true;
    }
    const isAllowed = ancestry.some((resource) =>
      this.policies
        .get(resource)
        ?.bindings.some(
          ({ role, members, condition }) =>
            members.includes(principal) && ROLES[role]?.test(permission) && this.holds(condition, ancestry),
        ),
    );
    const log = isAllowed ? this.allowed : this.denied;
    log.set(principal, (log.get(principal) ?? new Set()).add(`${permission} on ${ancestry[0]}`));
    return isAllowed;
  }

  /** Of the language of conditions, what the gateway's people write. */
  private holds(condition: EmulatedBinding['condition'], ancestry: readonly string[]): boolean {
    if (!condition) {
      return true;
    }
    const [, until] = /^request\.time < timestamp\("([^"]+)"\)$/.exec(condition.expression) ?? [];
    const [, name] = /^resource\.name == "([^"]+)"$/.exec(condition.expression) ?? [];
    return until === undefined ? name === ancestry[0] : this.now() < Date.parse(until);
  }
}

/** The token of a header `Authorization: Bearer …`. */
export function principalOf(authorization: string | undefined): string | undefined {
  return /^Bearer (.+)$/.exec(authorization ?? '')?.[1];
}
