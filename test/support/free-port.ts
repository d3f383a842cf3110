/** Ports for programs that must be told theirs before they listen. */
import { once } from 'node:events';
import { createServer } from 'node:net';

/** Below the ports that the system gives out by itself (Linux: from 32,768), so that nobody gets one meanwhile. */
const FIRST = 10_000;
const COUNT = 22_000;

/** Test files are processes whose numbers are near each other: each begins elsewhere. */
const STRIDE = 37;

let asked = 0;

/** A port of the loopback where nothing listens, which this process gives nobody else. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + ((process.pid * STRIDE + asked++) % COUNT);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (isFree) {
      server.close();
      await once(server, 'close');
      return port;
    }
  }
}
