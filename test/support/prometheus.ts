/** A real Prometheus of a test's own, which scrapes what it is told to. */
import type { TestOptions } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';
import { startHttpProgram } from './http-program.ts';
import { needsTool } from './needs-tool.ts';

const POLL = 50;

/** Options for a test that runs Prometheus or its promtool. */
export function needsPrometheus(command: 'prometheus' | 'promtool' = 'prometheus'): TestOptions {
  return needsTool(command, 'apt-get install prometheus');
}

/** A value of an instant query, with its labels. */
export interface QueryResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Prometheus extends AsyncDisposable {
  /** What a query gives now. @throws Error when it cannot be read */
  query(text: string): Promise<QueryResult[]>;
  /** Resolves with what a query gives, as soon as that satisfies the condition. */
  until(text: string, condition: (results: readonly QueryResult[]) => boolean): Promise<QueryResult[]>;
}

/**
 * Starts Prometheus, which scrapes `target` every second and evaluates the rules as often.
 *
 * @param target host and port; or jobs, as in its configuration
 * @param rules contents of a rules file
 */
export async function startPrometheus(target: string | readonly object[], rules: string): Promise<Prometheus> {
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: ['rules.yaml'],
    scrape_configs:
      typeof target === 'string' ? [{ job_name: 'relay-gateway', static_configs: [{ targets: [target] }] }] : target,
  };
  const program = await startHttpProgram('prometheus', {
    files: { 'prometheus.yaml': stringify(config), 'rules.yaml': rules },
    parametersOf: (address, directory) => [
      `--config.file=${directory}/prometheus.yaml`,
      `--storage.tsdb.path=${directory}/data`,
      `--web.listen-address=${address}`,
    ],
    ready: '/-/ready',
  });

  const query = async (text: string): Promise<QueryResult[]> => {
    const response = await fetch(`http://${program.address}/api/v1/query?query=${encodeURIComponent(text)}`);
    const answer = (await response.json()) as {
      status: string;
      error?: string;
      data: { result: { metric: Record<string, string>; value: [number, string] }[] };
    };
    if (answer.status !== 'success') {
      throw new Error(`${text}: ${answer.error}`);
    }
    return answer.data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  };
  return {
    query,
    async until(text, condition) {
      for (;;) {
        const results = await query(text);
        if (condition(results)) {
          return results;
        }
        await pause(POLL);
      }
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}
