/** `relay-gateway store`: looks after the data directory. */
import { Command } from 'commander';
import type { Compaction, Examination } from '../backends/local/examination.ts';
import type { Environment } from '../config.ts';
import { table } from './table.ts';

const FAULT = 1;

/** A store may be large: how long a running gateway may take, in milliseconds. */
const TIMEOUT = 24 * 3_600_000;

/** The command, for the program to add to its own. */
export function storeCommand(environment: Environment): Command {
  const command = new Command('store').description('Look after the data directory, also while the gateway runs.');
  command
    .command('verify')
    .description(
      'Read everything through: pages, checksums, and what belongs to nothing. Exits with 1 when something is wrong.',
    )
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: true }) => {
      const { askGateway } = await import('./control.ts');
      const found = await askGateway<Examination>(environment, 'GET store/verify', {}, { timeout: TIMEOUT });
      console.log(json ? JSON.stringify(found, undefined, 2) : describe(found));
      if (found.damaged > 0 || found.faults.length > 0) {
        process.exitCode = FAULT;
      }
    });
  command
    .command('compact')
    .description('Delete what expired or belongs to nothing, and give free space back to the file system.')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: true }) => {
      const { askGateway } = await import('./control.ts');
      const done = await askGateway<Compaction>(environment, 'POST store/compact', {}, { timeout: TIMEOUT });
      const { octetsBefore, octetsAfter, orphanedBodies } = done;
      const text = `${octetsBefore} octets before, ${octetsAfter} after; ${orphanedBodies} bodies belonged to nothing`;
      console.log(json ? JSON.stringify(done, undefined, 2) : text);
    });
  return command;
}

function describe(found: Examination): string {
  const rows = [
    ['Objects', `${found.objects}, ${found.liveOctets} octets`],
    ['Records', `${found.records}`],
    ['Damaged', `${found.damaged}, now made anew from the log or set aside`],
    ['Set aside before', `${found.setAside}`],
    ['Bodies that belong to nothing', `${found.orphanedBodies}`],
    ['Work without its object', `${found.orphanedWork}`],
  ];
  const damaged = [...found.damagedObjects, ...found.damagedRecords.map(({ kind, key }) => `${kind}/${key}`)];
  const faults = found.faults.map((fault) => `Fault in ${fault}: start the gateway anew, and it repairs the file`);
  return [table(rows), ...damaged.map((key) => `Damaged: ${key}`), ...faults].join('\n');
}
