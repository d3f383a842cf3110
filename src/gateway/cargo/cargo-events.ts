/** What happens to cargo as a whole, told to whoever watches the gateway; what is in it is told by the journal. */
import type { TraceIds } from '../errors.ts';

export interface CargoEvent {
  readonly event: /** A courier brought it: it is durable. */
    | 'accepted'
    /** It is of no use to anybody: `code`. */
    | 'refused'
    /** The courier keeps it: there is no room, or a store is away. */
    | 'not-now'
    /** A worker took care of all that is in it. */
    | 'opened'
    /** It cannot be opened and never will be: `code`. */
    | 'dropped'
    /** A worker will open it again: there was no room for all that is in it. */
    | 'waiting'
    /** A courier has collected all there was. */
    | 'collected'
    /** A courier's collection ended before its time. */
    | 'broken-off'
    /** A courier may not collect: `code`. */
    | 'collection-refused'
    /** Something failed here. */
    | 'failed';
  readonly ids: TraceIds;
  readonly code?: string;
  /** How long it took, in milliseconds. */
  readonly took?: number;
}

/** Never throws and never waits. */
export type TellOfCargo = (event: CargoEvent) => void;

/** For rooms whose cargo nobody watches. */
export const TELL_NOBODY: TellOfCargo = () => undefined;
