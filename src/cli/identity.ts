/** `relay-gateway identity`: who this gateway is. Asks the one that runs; opens the stores itself when none does. */
import { writeFileSync } from 'node:fs';
import type { Environment } from '../config.ts';
import type { IdentityReport } from '../services/control/identity-report.ts';
import { askGateway } from './control.ts';
import { keyTable } from './rotate.ts';
import { table } from './table.ts';

export interface IdentityOptions {
  /** File to write the connection parameters to. */
  readonly connectionParams?: string;
  readonly json?: true;
}

/** @throws ConfigError; StoreError; Error when the file cannot be written */
export async function showIdentity(environment: Environment, options: IdentityOptions): Promise<void> {
  const report = await askGateway<IdentityReport>(environment, 'GET identity');
  if (options.connectionParams !== undefined) {
    writeFileSync(options.connectionParams, Buffer.from(report.connectionParams, 'base64'));
  }
  console.log(options.json ? JSON.stringify(report, undefined, 2) : describe(report, options.connectionParams));
}

function describe(report: IdentityReport, file: string | undefined): string {
  const lines = [
    table([
      ['Internet address', report.internetAddress],
      ['Node id', report.nodeId],
    ]),
    'Keys',
    keyTable(report.keys),
    'Certificates',
    table(
      report.certificates.map(({ nodeId, serialNumber, notBefore, notAfter, issues }) => [
        serialNumber,
        `${notBefore.slice(0, 10)} to ${notAfter.slice(0, 10)}`,
        nodeId === report.nodeId ? '' : `of ${nodeId}`,
        issues ? 'issues' : '',
      ]),
      '  ',
    ),
  ];
  if (file !== undefined) {
    lines.push(`Connection parameters written to ${file}`);
  }
  return lines.join('\n');
}
