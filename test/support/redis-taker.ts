/** A worker of its own process: takes what is due from a Redis, tells the keys, and sits on them until it is killed. */
import { redisBackends } from './redis-backends.ts';

const [url = '', name = '', count = '', lease = ''] = process.argv.slice(2);

const backends = await redisBackends(url, { name, clock: { now: () => Date.now() } });
const options = { count: Number(count), lease: Number(lease), room: () => Number(count) };
const taken = await backends.work.take('internet-delivery', options, new AbortController().signal);
process.stdout.write(`${JSON.stringify(taken.map(({ key }) => key))}\n`);
