/** `relay-gateway recover`: looks at stores that are damaged, and mends them, while no gateway runs on them. */
import { Command } from 'commander';
import { pino } from 'pino';
import type { Recovery, RecoveryExamination } from '../compose/recovery.ts';
import { type Environment, readConfig } from '../config.ts';
import { createLogger } from '../log.ts';
import { machineClock } from '../machine.ts';
import { table } from './table.ts';

const FAULT = 1;
const STANDARD_ERROR = 2;

const MENDS = {
  recover: 'relay-gateway recover --apply',
  restore: 'restore a backup: relay-gateway restore, onto new stores',
  operator: 'you: docs/recovery.md',
} as const;

/** The command, for the program to add to its own. */
export function recoverCommand(environment: Environment): Command {
  return new Command('recover')
    .description(
      'Examine the stores while no gateway runs on them, and change nothing; within 24 hours of that, --apply mends ' +
        'what was found.',
    )
    .option('--apply', 'mend what was found')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  relay-gateway recover\n\nExit codes: 0 all is well, or was mended; 1 it is not; 2 bad usage or configuration.',
    )
    .action(async ({ apply, json }: { apply?: true; json?: true }) => {
      const { examineStores, recoverStores } = await import('../compose/recovery.ts');
      const config = readConfig(environment);
      const logger = createLogger(config.logLevel, pino.destination({ dest: STANDARD_ERROR, sync: true }));
      const parts = { clock: machineClock, logger };
      if (apply) {
        const recovery = await recoverStores(config, parts);
        console.log(json ? JSON.stringify(recovery, undefined, 2) : describeRecovery(recovery));
        return;
      }
      const found = await examineStores(config, parts);
      console.log(json ? JSON.stringify(forMachines(found), undefined, 2) : describe(found));
      if (found.faults.length > 0) {
        process.exitCode = FAULT;
      }
    });
}

function forMachines({ lapses, ...found }: RecoveryExamination): object {
  return { lapses: new Date(lapses).toISOString(), ...found };
}

function describe({ faults, contents, lapses }: RecoveryExamination): string {
  const lines = faults.map(({ code, detail, mend }) => `${code}: ${detail}\n  mend: ${MENDS[mend]}`);
  if (contents) {
    lines.push(
      table([
        ['Objects', `${contents.objects}, ${contents.liveOctets} octets`],
        ['Records', `${contents.records}`],
        ['Damaged', `${contents.damaged}`],
        ['Set aside before', `${contents.setAside}`],
      ]),
    );
  }
  lines.push(
    faults.length === 0
      ? 'Nothing is wrong with the stores'
      : `Nothing was changed. Mend it until ${new Date(lapses).toISOString()}`,
  );
  return lines.join('\n');
}

function describeRecovery({ done, nodeId }: Recovery): string {
  return [...done, `The stores can be used again; node id ${nodeId}`].join('\n');
}
