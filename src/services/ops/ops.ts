/**
 * The ops port: what operators and their machines ask of this process.
 */
import type { HttpServer } from '../http/server.ts';
import type { CheckFailure, CheckOutcome, CheckRounds } from './check-rounds.ts';

/** One check's outcome, as `GET /ping` gives it. */
export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  /** Why not. */
  readonly error?: string;
}

/** One check's outcome, as `GET /readyz` gives it. */
export interface ReadinessResult extends CheckResult {
  /** Present where the gateway serves without it, though not as well: then it does not make the process unready. */
  readonly optional?: true;
  readonly code?: string;
  /** ISO 8601. */
  readonly since?: string;
  /** What to look for in the logs: the field `incident`. */
  readonly id?: string;
}

export interface OpsParts {
  readonly checks: CheckRounds;
  /** Why this process is about to end; undefined while it serves. */
  readonly stopping: () => CheckFailure | undefined;
  /** All metrics as Prometheus reads them, and the content type of that text. */
  readonly metrics: { readonly contentType: string; text(): Promise<string> };
}

/**
 * Puts the ops routes on a server that does not listen yet.
 *
 * - `GET /ping`: 200 if every check passes, else 503, with a JSON list of `CheckResult`.
 * - `GET /livez`: 200 as long as the process answers at all; whatever else is away, a restart would not bring it back.
 * - `GET /readyz`: 200 if requests may come, else 503, with a JSON list of `ReadinessResult`.
 * - `GET /metrics`: for Prometheus.
 */
export async function serveOps(server: HttpServer, { checks, stopping, metrics }: OpsParts): Promise<void> {
  const { app } = server;
  app.get('/ping', async (_request, reply) => {
    const outcomes = await checks.look();
    const results = outcomes.map(
      ({ name, ok, failure }): CheckResult => ({
        name,
        ok,
        ...(failure && { error: failure.error }),
      }),
    );
    return reply
      .code(outcomes.every(({ ok }) => ok) ? 200 : 503)
      .header(...JSON_TYPE)
      .send(json(results));
  });

  app.get('/livez', async (_request, reply) => reply.header(...JSON_TYPE).send(json({ alive: true })));

  app.get('/readyz', async (_request, reply) => {
    const end = stopping();
    const serving: CheckOutcome = { name: 'serving', ok: end === undefined, isOptional: false, failure: end };
    // Nothing else matters then, and the others may be closed already.
    const outcomes = end ? [serving] : [serving, ...(await checks.look())];
    const isReady = outcomes.every(({ ok, isOptional }) => ok || isOptional);
    return reply
      .code(isReady ? 200 : 503)
      .header(...JSON_TYPE)
      .send(json(outcomes.map(readiness)));
  });

  app.get('/metrics', async (_request, reply) =>
    reply.header('content-type', metrics.contentType).send(Buffer.from(await metrics.text())),
  );
}

const JSON_TYPE = ['content-type', 'application/json'] as const;

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function readiness({ name, ok, isOptional, failure }: CheckOutcome): ReadinessResult {
  const optional = isOptional ? ({ optional: true } as const) : {};
  if (!failure) {
    return { name, ok, ...optional };
  }
  const { code, since, id, error } = failure;
  return { name, ok, ...optional, code, since: new Date(since).toISOString(), id, error };
}
