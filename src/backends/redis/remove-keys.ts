/** Takes away all that a gateway has in Redis; what others have there stays. */
import { Cluster } from 'ioredis';
import type { RedisAddress } from './address.ts';
import { connect } from './client.ts';
import { prefixOf } from './redis-backends.ts';

/** How long to wait for Redis, in milliseconds. */
const LONGEST_START = 10_000;

/** Keys that are asked for at once. */
const PAGE = 1000;

/**
 * It may be done again.
 *
 * @param name the gateway's Internet address
 * @returns how many keys there were
 * @throws Error in one line, when Redis cannot be used
 */
export async function removeKeys(address: RedisAddress, name: string): Promise<number> {
  const connection = connect(address, false);
  let trouble = 'not connected yet';
  connection.on('error', (error: Error) => {
    trouble = error.message;
  });
  const ready = new Promise<true>((resolve) => connection.once('ready', () => resolve(true)));
  const late = new AbortController();
  const waited = new Promise<false>((resolve) => {
    const timer = setTimeout(() => resolve(false), LONGEST_START);
    late.signal.addEventListener('abort', () => clearTimeout(timer));
  });
  try {
    if (!(await Promise.race([ready, waited]))) {
      throw new Error(`Redis cannot be reached: ${trouble}`);
    }
    const prefix = prefixOf(name);
    const isOurs = (key: string) => key.startsWith(prefix) || key.startsWith(`{${prefix}`);
    let removed = 0;
    for (const node of connection instanceof Cluster ? connection.nodes('master') : [connection]) {
      for await (const keys of node.scanStream({ match: `*${prefix}*`, count: PAGE })) {
        // One by one: in a cluster those of one node may be in different slots.
        const counts = await Promise.all((keys as string[]).filter(isOurs).map((key) => connection.unlink(key)));
        removed += counts.reduce((sum, count) => sum + count, 0);
      }
    }
    return removed;
  } finally {
    late.abort();
    connection.disconnect();
  }
}
