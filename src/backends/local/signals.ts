/**
 * Signals inside one process: a channel leads straight to its listeners.
 */

import type { Signals, Subscription } from '../../gateway/ports.ts';
import type { StoreLog } from './store-files.ts';

type Listener = (payload: Buffer) => void;

export class LocalSignals implements Signals {
  /** Nearly every channel has one subscriber; an array is only made for the second. */
  private readonly channels = new Map<string, LocalSubscription | LocalSubscription[]>();
  private readonly log: Pick<StoreLog, 'error'>;

  constructor(log: Pick<StoreLog, 'error'>) {
    this.log = log;
  }

  isHeard(channel: string): boolean {
    return this.channels.has(channel);
  }

  publish(channel: string, payload: Buffer): void {
    const subscribers = this.channels.get(channel);
    if (subscribers === undefined) {
      return;
    }
    if (Array.isArray(subscribers)) {
      for (const subscription of [...subscribers]) {
        this.tell(subscription, payload);
      }
    } else {
      this.tell(subscribers, payload);
    }
  }

  /** Nothing is lost inside a process: `onGap` is never called. */
  async subscribe(channel: string, listener: Listener, _onGap: () => void): Promise<Subscription> {
    const subscription = new LocalSubscription(this, channel, listener);
    const present = this.channels.get(channel);
    if (present === undefined) {
      this.channels.set(channel, subscription);
    } else if (Array.isArray(present)) {
      present.push(subscription);
    } else {
      this.channels.set(channel, [present, subscription]);
    }
    return subscription;
  }

  /** Takes a subscription out; harmless when it is out already. */
  remove(subscription: LocalSubscription): void {
    const present = this.channels.get(subscription.channel);
    if (present === subscription) {
      this.channels.delete(subscription.channel);
    } else if (Array.isArray(present)) {
      const rest = present.filter((other) => other !== subscription);
      if (rest.length === 0) {
        this.channels.delete(subscription.channel);
      } else {
        this.channels.set(subscription.channel, rest.length === 1 ? (rest[0] as LocalSubscription) : rest);
      }
    }
  }

  private tell(subscription: LocalSubscription, payload: Buffer): void {
    try {
      subscription.listener?.(payload);
    } catch (error) {
      this.log.error({ err: error, channel: subscription.channel }, 'A listener failed');
    }
  }
}

class LocalSubscription implements Subscription {
  private readonly signals: LocalSignals;
  readonly channel: string;
  /** Gone once closed, so that a listener closed by an earlier one hears nothing more. */
  listener: Listener | undefined;

  constructor(signals: LocalSignals, channel: string, listener: Listener) {
    this.signals = signals;
    this.channel = channel;
    this.listener = listener;
  }

  close(): void {
    if (this.listener) {
      this.listener = undefined;
      this.signals.remove(this);
    }
  }
}
