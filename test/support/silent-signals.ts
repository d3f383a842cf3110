/** Signals that are all lost: what must be found out without them. */
import type { Signals, Subscription } from '../../src/gateway/ports.ts';

export class SilentSignals implements Signals {
  publish(): void {}

  async subscribe(): Promise<Subscription> {
    return { close: () => undefined };
  }
}
