/** `relay-gateway peers`: which private gateways this gateway serves. */
import { Command, InvalidArgumentError } from 'commander';
import type { Environment } from '../config.ts';
import type { PeerList } from '../services/control/peer-orders.ts';
import { table } from './table.ts';

const NODE_ID = /^0[0-9a-f]{64}$/;

const CHANGES = {
  allow: ['let a private gateway register where REGISTRATION_POLICY is allowlist', 'may register'],
  block: ['refuse a private gateway from now on, and end its collections', 'is blocked'],
  unblock: ['end a block', 'is not blocked'],
} as const;

/** The command, for the program to add to its own. */
export function peersCommand(environment: Environment): Command {
  const command = new Command('peers').description(
    'Say which private gateways this gateway serves, also while it runs.',
  );
  command
    .command('list')
    .description('List private gateways that are registered, allowed or blocked.')
    .option('--allowed', 'only those that are allowed')
    .option('--blocked', 'only those that are blocked')
    .option('--json', 'print JSON')
    .action(async ({ allowed, blocked, json }: { allowed?: true; blocked?: true; json?: true }) => {
      const { askGateway } = await import('./control.ts');
      const only = blocked ? { only: 'blocked' } : allowed ? { only: 'allowed' } : {};
      const list = await askGateway<PeerList>(environment, 'GET peers', only);
      console.log(json ? JSON.stringify(list, undefined, 2) : describe(list));
    });
  for (const [change, [description, outcome]] of Object.entries(CHANGES)) {
    command
      .command(change)
      .description(`${description[0]?.toUpperCase()}${description.slice(1)}.`)
      .argument('<id>', 'its node id', nodeId)
      .option('--json', 'print JSON')
      .action(async (id: string, { json }: { json?: true }) => {
        const { askGateway } = await import('./control.ts');
        const answer = await askGateway<{ isBlocked: boolean }>(environment, `POST peers/${change}`, { id });
        const but = change === 'allow' && answer.isBlocked ? ', but is blocked' : '';
        console.log(json ? JSON.stringify(answer, undefined, 2) : `${id} ${outcome}${but}`);
      });
  }
  return command;
}

function describe({ peers, isTruncated }: PeerList): string {
  if (peers.length === 0) {
    return 'There are none';
  }
  const rows = peers.map(({ id, registered, isAllowed, isBlocked }) => [
    id,
    registered ? `registered ${registered.slice(0, 10)}` : 'not registered',
    isAllowed ? 'allowed' : '',
    isBlocked ? 'blocked' : '',
  ]);
  return isTruncated ? `${table(rows)}\nand more` : table(rows);
}

function nodeId(text: string): string {
  if (!NODE_ID.test(text)) {
    throw new InvalidArgumentError('It must be a node id: 0 and 64 lower-case hexadecimal digits.');
  }
  return text;
}
