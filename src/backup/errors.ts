/** What can be wrong with a recovery key, a backup, or the stores that one is restored onto. */

export type BackupErrorCode =
  /** Not a recovery key, or not a share of one. */
  | 'RECOVERY_KEY_INVALID'
  /** The backup was encrypted to another recovery key. */
  | 'RECOVERY_KEY_WRONG'
  /** Shares are too few, or of different keys or splits. */
  | 'SHARES_INSUFFICIENT'
  /** It cannot be read, was cut off, or its contents are not what it says. */
  | 'BACKUP_DAMAGED'
  /** Written in a form that this program does not know. */
  | 'BACKUP_UNSUPPORTED'
  /** Of a gateway with another Internet address, or that keeps its keys elsewhere. */
  | 'BACKUP_UNSUITABLE'
  /** The file or object is not there, or cannot be written. */
  | 'PLACE_UNUSABLE'
  /** Something is in the stores already. */
  | 'STORES_NOT_EMPTY';

/** Its message is one sentence for people, without anything secret. */
export class BackupError extends Error {
  override readonly name = 'BackupError';
  readonly code: BackupErrorCode;

  constructor(code: BackupErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
