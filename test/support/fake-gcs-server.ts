/**
 * fake-gcs-server, a Cloud Storage of other people's making, for tests: what ours and theirs agree on is hardly a
 * mistake of ours. The one on the PATH, or where `go install` puts it.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import type { TestOptions } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type BoundProcess, startBoundProcess } from './bound-process.ts';
import { freePort } from './free-port.ts';
import { findCommand, needsTool } from './needs-tool.ts';

const COMMAND = 'fake-gcs-server';
const HOW_TO_GET = 'go install github.com/fsouza/fake-gcs-server@v1.56.1';

const START_LIMIT = 30_000;
const POLL = 20;

/**
 * Options for a test that runs it; skips it where there is none. Nobody must have Go: without, it is skipped everywhere.
 *
 * @throws Error in continuous integration, when there is Go but not the server
 */
export function needsFakeGcs(environment = process.env): TestOptions {
  const searchPath = searchPathOf(environment);
  if (!findCommand(COMMAND, searchPath) && !findCommand('go', searchPath)) {
    return needsTool('go', `https://go.dev/dl, and then ${HOW_TO_GET}`, { PATH: searchPath });
  }
  return needsTool(COMMAND, HOW_TO_GET, { ...environment, PATH: searchPath });
}

/** The PATH, and where Go puts what it installs. */
function searchPathOf(environment: NodeJS.ProcessEnv): string {
  const searchPath = environment['PATH'] ?? '';
  const go = findCommand('go', searchPath);
  if (!go) {
    return searchPath;
  }
  const [bin, workspaces = ''] = execFileSync(go, ['env', 'GOBIN', 'GOPATH'], { encoding: 'utf8', env: environment })
    .trimEnd()
    .split('\n');
  const [workspace = ''] = workspaces.split(path.delimiter);
  return [searchPath, bin || path.join(workspace, 'bin')].join(path.delimiter);
}

export interface FakeGcsServer extends AsyncDisposable {
  /** Goes into the client's `apiEndpoint`. */
  readonly url: string;
  /** Makes a bucket that nobody else has. @returns its name */
  makeBucket(): Promise<string>;
}

/** Starts it on a free port of loopback, in memory; disposal kills it. */
export async function startFakeGcs(): Promise<FakeGcsServer> {
  const program = findCommand(COMMAND, searchPathOf(process.env));
  if (!program) {
    throw new Error(`There is no ${COMMAND} on this machine`);
  }
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const place = ['-scheme', 'http', '-host', '127.0.0.1', '-port', `${port}`];
  await using started = new AsyncDisposableStack();
  await answers(started.use(startBoundProcess(program, ['-backend', 'memory', ...place])), url);
  const resources = started.move();
  return {
    url,
    makeBucket: () => makeBucket(url),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function answers({ child }: BoundProcess, url: string): Promise<void> {
  for (const end = performance.now() + START_LIMIT; !(await isHealthy(url)); await pause(POLL)) {
    const outcome = child.exitCode ?? child.signalCode;
    if (outcome !== null || performance.now() > end) {
      throw new Error(`${COMMAND} does not start at ${url} (it ended: ${outcome})`);
    }
  }
}

async function isHealthy(url: string): Promise<boolean> {
  const answer = await fetch(`${url}/_internal/healthcheck`).catch(() => undefined);
  return answer?.ok ?? false;
}

async function makeBucket(url: string): Promise<string> {
  const name = `test-${randomBytes(6).toString('hex')}`;
  const answer = await fetch(`${url}/storage/v1/b?project=test`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name }),
  });
  if (!answer.ok) {
    throw new Error(`${COMMAND} made no bucket: ${answer.status} ${await answer.text()}`);
  }
  return name;
}
