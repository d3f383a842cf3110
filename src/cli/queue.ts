/** `relay-gateway queue`: parcels that wait for Internet nodes. */
import { Command } from 'commander';
import type { Environment } from '../config.ts';
import type { DestinationList, WaitingParcels } from '../services/control/queue-orders.ts';
import { table } from './table.ts';

interface Outcome {
  readonly destination: string;
  readonly parcels: number;
}

/** How long a running gateway may take to drop a whole queue, in milliseconds. */
const DROP_TIMEOUT = 600_000;

/** The command, for the program to add to its own. */
export function queueCommand(environment: Environment): Command {
  const command = new Command('queue').description(
    'See to parcels that wait for Internet nodes, also while the gateway runs.',
  );
  command
    .command('list')
    .description('List the destinations that parcels wait for.')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: true }) => {
      const { askGateway } = await import('./control.ts');
      const list = await askGateway<DestinationList>(environment, 'GET queue');
      console.log(json ? JSON.stringify(list, undefined, 2) : describeList(list));
    });
  command
    .command('show')
    .description('List the parcels that wait for a destination.')
    .argument('<destination>', 'an Internet address')
    .option('--json', 'print JSON')
    .action(async (destination: string, { json }: { json?: true }) => {
      const { askGateway } = await import('./control.ts');
      const shown = await askGateway<WaitingParcels>(environment, 'GET queue/show', { destination });
      console.log(json ? JSON.stringify(shown, undefined, 2) : describeParcels(shown));
    });
  command
    .command('retry')
    .description('Have all parcels for a destination tried now.')
    .argument('<destination>', 'an Internet address')
    .option('--json', 'print JSON')
    .action(async (destination: string, { json }: { json?: true }) => {
      const { askGateway } = await import('./control.ts');
      const outcome = await askGateway<Outcome>(environment, 'POST queue/retry', { destination });
      console.log(json ? JSON.stringify(outcome, undefined, 2) : `Tried now: ${outcome.parcels} for ${destination}`);
    });
  command
    .command('drop')
    .description('Take parcels for a destination away for good.')
    .argument('<destination>', 'an Internet address')
    .option('--parcel <id>', 'only those with this RAMF message id')
    .option('--all', 'all that wait')
    .option('--json', 'print JSON')
    .action(async (destination: string, { parcel, all, json }: { parcel?: string; all?: true; json?: true }, self) => {
      if ((parcel === undefined) === (all === undefined)) {
        self.error('error: give either --parcel or --all');
      }
      const { askGateway } = await import('./control.ts');
      const parameters = { destination, ...(parcel !== undefined && { parcel }) };
      const outcome = await askGateway<Outcome>(environment, 'POST queue/drop', parameters, { timeout: DROP_TIMEOUT });
      console.log(json ? JSON.stringify(outcome, undefined, 2) : `Dropped: ${outcome.parcels} for ${destination}`);
    });
  return command;
}

function describeList({ destinations, isTruncated, givenUp }: DestinationList): string {
  const rows = destinations.map(({ destination, parcels, next, rests }) => [
    destination,
    `${parcels}`,
    `next try ${next}`,
    rests ? `rests until ${rests}` : '',
  ]);
  const lines = [rows.length === 0 ? 'No parcels wait for Internet nodes' : table(rows)];
  if (isTruncated) {
    lines.push('and more');
  }
  if (givenUp.length > 0) {
    const gone = givenUp.map(({ queue, group, key, attempts, expiry }) => [
      ...[queue, group, key],
      ...[`postponed ${attempts} times`, `expired ${expiry}`],
    ]);
    lines.push('Given up, since it expired:', table(gone));
  }
  return lines.join('\n');
}

function describeParcels({ destination, parcels, isTruncated }: WaitingParcels): string {
  if (parcels.length === 0) {
    return `No parcels wait for ${destination}`;
  }
  const rows = parcels.map(({ parcel, size, attempts, next, expiry }) => [
    parcel,
    `${size} octets`,
    `postponed ${attempts} times`,
    `next try ${next}`,
    `until ${expiry}`,
  ]);
  return isTruncated ? `${table(rows)}\nand more` : table(rows);
}
