/**
 * The ops port: what operators and their machines ask of this process.
 */
import type { HttpServer } from '../http/server.ts';
import type { Check } from '../service.ts';

/** How long a check may take, in milliseconds. */
const CHECK_TIMEOUT = 5000;

/** One check's outcome, as `GET /ping` gives it. */
export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  /** Why not. */
  readonly error?: string;
}

/**
 * Puts the ops routes on a server that does not listen yet.
 *
 * `GET /ping`: 200 if every check passes, else 503, with a JSON list of `CheckResult`.
 *
 * @param checks read at each request, so that services started later may be added
 */
export async function serveOps(server: HttpServer, { checks }: { checks: readonly Check[] }): Promise<void> {
  /** One round of checks at a time, however many ask. */
  let round: Promise<CheckResult[]> | undefined;
  server.app.get('/ping', async (_request, reply) => {
    round ??= Promise.all(checks.map(run)).finally(() => {
      round = undefined;
    });
    const results = await round;
    const failed = results.filter(({ ok }) => !ok);
    if (failed.length > 0) {
      server.log.warn({ failed }, 'Checks failed');
    }
    return reply
      .code(failed.length === 0 ? 200 : 503)
      .header('content-type', 'application/json')
      .send(Buffer.from(JSON.stringify(results)));
  });
}

async function run(check: Check): Promise<CheckResult> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`No answer in ${CHECK_TIMEOUT / 1000} seconds`)), CHECK_TIMEOUT);
  });
  try {
    await Promise.race([check.check(), timeout]);
    return { name: check.name, ok: true };
  } catch (error) {
    return { name: check.name, ok: false, error: (error as Error).message };
  } finally {
    clearTimeout(timer);
  }
}
