/** Prometheus' real blackbox exporter, of a test's own: it probes what it is asked for. */
import type { TestOptions } from 'node:test';
import { type HttpProgram, startHttpProgram } from './http-program.ts';
import { needsTool } from './needs-tool.ts';

const PROGRAM = 'prometheus-blackbox-exporter';

/** Options for a test that runs it. */
export function needsBlackboxExporter(): TestOptions {
  return needsTool(PROGRAM, `apt-get install ${PROGRAM}`);
}

/**
 * @param modules contents of its configuration
 * @param authorities PEM file with the only certificates that it trusts
 */
export function startBlackboxExporter(modules: string, authorities: string): Promise<HttpProgram> {
  return startHttpProgram(PROGRAM, {
    files: { 'blackbox.yml': modules },
    parametersOf: (address, directory) => [
      `--config.file=${directory}/blackbox.yml`,
      `--web.listen-address=${address}`,
    ],
    ready: '/-/healthy',
    environmentOf: (directory) => ({ SSL_CERT_FILE: authorities, SSL_CERT_DIR: directory }),
  });
}
