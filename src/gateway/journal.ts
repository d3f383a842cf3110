/** What the gateway room needs of the journal: to note what happened. */
import { AwalaError } from '../awala/errors.ts';
import { GatewayError } from './errors.ts';
import { type Journal, StoreError } from './ports.ts';

/** Notes events and gives nothing back. */
export type JournalWriter = Pick<Journal, 'record'>;

/** For rooms whose ways nobody traces. */
export const NO_JOURNAL: JournalWriter = { record: () => undefined };

/** The stable code and the text of a refusal; `INTERNAL` for what is a fault of ours. */
export function reasonOf(error: unknown): { readonly code: string; readonly reason: string } {
  if (error instanceof AwalaError || error instanceof GatewayError || error instanceof StoreError) {
    return { code: error.code, reason: error.message };
  }
  return { code: 'INTERNAL', reason: 'Something went wrong here' };
}
