/** What the workers' checks tell of a queue that fails and is there again, with nothing in it. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { InternetQueue } from '../../src/gateway/internet-queue.ts';
import { StoreError, type WorkQueue } from '../../src/gateway/ports.ts';
import { CargoWorker } from '../../src/workers/cargo-worker.ts';
import { InternetDelivery } from '../../src/workers/internet-delivery/internet-delivery.ts';
import { logLines } from '../support/log-lines.ts';
import { ManualClock } from '../support/manual-clock.ts';

const POLL = 20;

/** A queue that refuses until it is mended, and then never has anything. */
class EmptyQueue {
  isMended = false;
  readonly asked = Promise.withResolvers<void>();

  async take(...parameters: unknown[]): Promise<[]> {
    if (!this.isMended) {
      this.asked.resolve();
      throw new StoreError('STORE_FULL', 'No memory is left');
    }
    const signal = parameters.at(-1) as AbortSignal;
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    return [];
  }
}

interface Checked {
  start(): void;
  stop(deadline: AbortSignal): Promise<void>;
  check(): Promise<void>;
}

const common = () => ({ clock: new ManualClock(), chance: () => 0, log: logLines('silent').log });

const WORKERS: Readonly<Record<string, (queue: EmptyQueue) => Checked>> = {
  'Internet delivery': (queue) =>
    new InternetDelivery({
      ...common(),
      queue: queue as unknown as InternetQueue,
      deliver: async () => undefined,
      perDestination: 1,
    } as unknown as ConstructorParameters<typeof InternetDelivery>[0]),
  'The cargo worker': (queue) =>
    new CargoWorker({
      ...common(),
      queue: queue as unknown as WorkQueue,
    } as unknown as ConstructorParameters<typeof CargoWorker>[0]),
};

suite('The check of a worker', () => {
  for (const [name, newWorker] of Object.entries(WORKERS)) {
    test(`${name}: fails while the queue does, and passes when that only has nothing`, async (t: TestContext) => {
      const queue = new EmptyQueue();
      const worker = newWorker(queue);
      t.after(() => worker.stop(AbortSignal.abort()));
      worker.start();
      await queue.asked.promise;
      await pause(0);
      await assert.rejects(worker.check(), /No memory is left/);
      queue.isMended = true;
      while (
        !(await worker.check().then(
          () => true,
          () => false,
        ))
      ) {
        await pause(POLL);
      }
    });
  }
});
