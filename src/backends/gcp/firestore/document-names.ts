/**
 * Names of documents: a record's key as an id of Firestore's, injective, and ordered as the keys are, so that a prefix is
 * a range of ids and no index is needed beside the one that each collection has.
 *
 * Source: https://cloud.google.com/firestore/docs/best-practices#document_ids and
 * https://cloud.google.com/firestore/quotas#collections_documents_and_fields
 */
import type { RecordKind } from '../../../gateway/ports.ts';

const KEY_PATTERN = /^[\x20-\x7e]{1,512}$/;

/** Stands before each id, since `.`, `..` and `__…__` are none. */
const MARK = 'k';

/** Ids have no `/`. What stands for it lies between `.` and `0`, as it does itself. */
const ESCAPES: Readonly<Record<string, string>> = { '.': '.0', '/': '.1' };

/** After every id that has the same start: keys have no such character. */
const AFTER_ALL = '\x7f';

/** Where documents of one database are: `projects/PROJECT/databases/DATABASE`. */
export class DocumentNames {
  readonly database: string;

  constructor({ project, database }: { project: string; database: string }) {
    this.database = `projects/${project}/databases/${database}`;
  }

  /** @throws TypeError when the key is none */
  ofRecord(kind: RecordKind, key: string): string {
    if (!KEY_PATTERN.test(key)) {
      throw new TypeError('A record key is 1 to 512 printable ASCII characters');
    }
    return this.startingWith(kind, key);
  }

  /** The first name that a key with this prefix may have. */
  startingWith(kind: RecordKind, prefix: string): string {
    return `${this.database}/documents/${kind}/${MARK}${prefix.replaceAll(/[./]/g, (character) => ESCAPES[character] as string)}`;
  }

  /** A name after all that keys with this prefix have. */
  afterPrefix(kind: RecordKind, prefix: string): string {
    return this.startingWith(kind, prefix) + AFTER_ALL;
  }

  keyOf(name: string): string {
    const id = name.slice(name.lastIndexOf('/') + 1 + MARK.length);
    return id.replaceAll(/\.([01])/g, (_, code) => (code === '1' ? '/' : '.'));
  }
}
