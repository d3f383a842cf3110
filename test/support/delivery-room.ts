/** The worker that delivers to the Internet on real stores, with the test's clock and log; nothing is dialled. */
import { randomUUID } from 'node:crypto';
import type { InternetQueue } from '../../src/gateway/internet-queue.ts';
import type { ParcelStorage } from '../../src/gateway/parcel-storage.ts';
import { DAY } from '../../src/gateway/time.ts';
import { type Deliver, InternetDelivery } from '../../src/workers/internet-delivery/internet-delivery.ts';
import { type GatewayRoom, openGatewayRoom } from './gateway-room.ts';
import { logLines } from './log-lines.ts';

export const PEER = '0aa';

export interface DeliveryRoom extends AsyncDisposable {
  readonly room: GatewayRoom;
  readonly storage: ParcelStorage;
  readonly worker: InternetDelivery;
  readonly lines: readonly Record<string, unknown>[];
  /** Starts another worker over the same stores, which tells the same log. */
  join(deliver: Deliver): void;
  /** Puts a parcel into the outbox of `PEER`; gives its digest. */
  put(destination: string, options?: { body?: string; digest?: string; lifetime?: number }): Promise<string>;
  /** Moves time on and has the worker look at once. */
  advance(milliseconds: number): Promise<void>;
  /** Resolves when there are so many lines of the log with this message. */
  logged(message: string, count?: number): Promise<Record<string, unknown>[]>;
  /** What waits in outboxes. */
  waiting(): Promise<string[]>;
}

/**
 * @param deliver what delivering does
 * @param wrap gives the queue that the worker is to have
 */
export async function openDeliveryRoom(
  deliver: Deliver,
  wrap = (queue: InternetQueue): InternetQueue => queue,
): Promise<DeliveryRoom> {
  const room = await openGatewayRoom();
  const { storage, clock, backends } = room;
  const { log, lines } = logLines();
  const workers: InternetDelivery[] = [];
  const begin = (delivering: Deliver, queue: InternetQueue) => {
    const begun = new InternetDelivery({
      queue,
      outbox: storage.outbox,
      sent: storage.sent,
      deliver: delivering,
      clock,
      chance: () => 0,
      log,
      journal: backends.journal,
      perDestination: 8,
    });
    workers.push(begun);
    begun.start();
    return begun;
  };
  const worker = begin(deliver, wrap(storage.internetQueue));
  return {
    room,
    storage,
    worker,
    lines,
    join(delivering) {
      begin(delivering, storage.internetQueue);
    },
    async put(destination, { body = 'parcel', digest = randomUUID(), lifetime = DAY } = {}) {
      const metadata = { trace: 'test', parcel: digest, sender: '0bb', recipient: '0cc' };
      const parcel = { digest, bytes: Buffer.from(body), expiry: clock.now() + lifetime, metadata };
      await storage.outbox.put(PEER, parcel, destination);
      return digest;
    },
    async advance(milliseconds) {
      clock.advance(milliseconds);
      // Any change of the queue wakes who waits for work.
      await backends.work.add('cargo', { key: randomUUID(), group: '', size: 0, expiry: 0 });
    },
    async logged(message, count = 1) {
      for (;;) {
        const found = lines.filter(({ msg }) => msg === message);
        if (found.length >= count) {
          return found;
        }
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
    async waiting() {
      const keys: string[] = [];
      for await (const { key } of backends.objects.list('outbox/')) {
        keys.push(key.split('/').at(-1) ?? '');
      }
      return keys;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(workers.map((one) => one.stop(AbortSignal.abort())));
      await room[Symbol.asyncDispose]();
    },
  };
}
