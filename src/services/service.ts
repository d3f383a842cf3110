/**
 * What a process runs: each service listens somewhere, can say whether it works, and stops when told.
 */

/** Something that works or does not, as `GET /ping` on the ops port reports it. */
export interface Check {
  /** Short and stable, e.g. `poweb` or `objects`. */
  readonly name: string;
  /** The gateway serves without it, though not as well: it does not make the process unready. */
  readonly isOptional?: boolean;
  /** Resolves when it works; rejects with the reason when it does not. */
  check(): Promise<void>;
}

/** A running service. */
export interface Service extends Check {
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;

  /**
   * The stop is about to come: serves on, but has clients make their next connection, so that none sends a request into
   * one that closes.
   */
  announceStop?(): void;

  /**
   * Takes nothing new, finishes what is in hand, and resolves when all is closed.
   *
   * @param deadline when it aborts, what is still open is cut
   */
  stop(deadline: AbortSignal): Promise<void>;
}

/** A service that does not listen before it is told to. */
export interface Server extends Service {
  /** When its TLS certificate ends, in milliseconds; undefined without TLS. */
  readonly certificateExpiry: number | undefined;
  /** Starts to listen; resolves with `url`. */
  listen(): Promise<string>;
}
