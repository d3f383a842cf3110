/** An error answer of the JSON API. https://cloud.google.com/storage/docs/json_api/v1/status-codes */
export class ApiFault extends Error {
  override readonly name = 'ApiFault';
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }

  /** The error's JSON document. */
  get document(): object {
    const { status: code, message, reason } = this;
    return { error: { code, message, errors: [{ message, domain: 'global', reason }] } };
  }
}
