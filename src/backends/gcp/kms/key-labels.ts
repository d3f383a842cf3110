/**
 * Labels of a key that say whose it is. Whoever makes the key sets them; the gateway reads them and changes none.
 */
import { createHash } from 'node:crypto';

export type Labels = Readonly<Record<string, string>>;

/** What a gateway has besides its keys; undefined what it keeps elsewhere than in the cloud. */
export interface KeyOwner {
  readonly internetAddress: string;
  readonly bucket: string | undefined;
  /** Of Firestore, with its project. */
  readonly database: { readonly project: string; readonly id: string } | undefined;
}

/** The names of the labels. */
export type OwnerLabel = 'internet-address' | 'bucket' | 'project' | 'database';

/** Most characters that a label may have: https://cloud.google.com/kms/docs/labeling-keys */
const LONGEST = 63;

/** Characters of a name that is too long, or does not go into a label as it is; the rest is a digest. */
const KEPT = 46;
const DIGEST = 16;

/** Stands for what is not in the cloud: no name begins like this. */
const ELSEWHERE = '_local';

/** What the labels of this gateway's keys are. */
export function ownerLabels({ internetAddress, bucket, database }: KeyOwner): Readonly<Record<OwnerLabel, string>> {
  return {
    'internet-address': labelOf(internetAddress),
    bucket: labelOf(bucket),
    project: labelOf(database?.project),
    database: labelOf(database?.id),
  };
}

/** Labels have neither dots nor capitals: dots become underscores, and what has more to it than dots gets a digest. */
function labelOf(name: string | undefined): string {
  if (name === undefined) {
    return ELSEWHERE;
  }
  const label = name.replaceAll('.', '_');
  if (label.length <= LONGEST && /^[a-z0-9.-]+$/.test(name)) {
    return label;
  }
  const digest = createHash('sha256').update(name).digest('hex').slice(0, DIGEST);
  return `${label
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]/g, '-')
    .slice(0, KEPT)}-${digest}`;
}
