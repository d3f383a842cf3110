/**
 * Which private gateways this gateway serves: who may register, and who is blocked.
 *
 * Blocks are decided by records. Every process keeps the set of them in memory, so that asking costs nothing, and
 * learns of a change by a signal, or where that is lost, by a look at one record every few seconds.
 */
import { GatewayError } from './errors.ts';
import type { Clock, Records, Signals, Subscription } from './ports.ts';

/** Who may register: everybody; those that the operator allows; nobody new. */
export type RegistrationPolicy = 'open' | 'allowlist' | 'closed';

/** What an operator may know of a private gateway. */
export interface PeerReport {
  /** Node id. */
  readonly id: string;
  /** When it registered last, in milliseconds; absent when it did not, or its certificate has expired. */
  readonly registered?: number;
  readonly isAllowed: boolean;
  readonly isBlocked: boolean;
}

export interface PeersParts {
  readonly records: Records;
  readonly signals: Signals;
  readonly clock: Clock;
  /** `open` by default. */
  readonly policy?: RegistrationPolicy;
}

/** Node id of a private gateway (RS-002). */
const NODE_ID = /^0[0-9a-f]{64}$/;

const CHANNEL = 'peers';

/** The record that changes with every block and unblock. */
const REVISION = 'blocked-peers-revision';

export class Peers implements Disposable {
  private readonly parts: PeersParts;
  private readonly policy: RegistrationPolicy;
  private readonly listeners: ((peer: string) => void)[] = [];
  private blocked: ReadonlySet<string> = new Set();
  private revision: string | undefined;
  private subscription: Subscription | undefined;
  private refreshing: Promise<void> = Promise.resolve();

  private constructor(parts: PeersParts) {
    this.parts = parts;
    this.policy = parts.policy ?? 'open';
  }

  /** @throws StoreError */
  static async open(parts: PeersParts): Promise<Peers> {
    const peers = new Peers(parts);
    const refresh = () => {
      // Should a store be away, the next look finds the change.
      peers.refresh().catch(() => undefined);
    };
    peers.subscription = await parts.signals.subscribe(CHANNEL, refresh, refresh);
    await peers.reload();
    return peers;
  }

  isBlocked(peer: string): boolean {
    return this.blocked.has(peer);
  }

  /** @throws GatewayError PEER_BLOCKED */
  requireWelcome(peer: string): void {
    if (this.isBlocked(peer)) {
      throw new GatewayError('PEER_BLOCKED', 'This private gateway is blocked');
    }
  }

  /**
   * Whether the policy lets this private gateway register. One that is registered may renew its certificate under any
   * policy: the operator blocks whom to be rid of.
   *
   * @throws GatewayError PEER_BLOCKED, PEER_NOT_ALLOWED, REGISTRATION_CLOSED; StoreError
   */
  async requireRegistrable(peer: string): Promise<void> {
    this.requireWelcome(peer);
    if (this.policy === 'open' || (await this.parts.records.get('private-gateways', peer))) {
      return;
    }
    if (this.policy === 'closed') {
      throw new GatewayError('REGISTRATION_CLOSED', 'This gateway takes no new private gateways');
    }
    if (!(await this.parts.records.get('allowed-peers', peer))) {
      throw new GatewayError('PEER_NOT_ALLOWED', 'This private gateway is not among those that may register');
    }
  }

  /** Has `listener` told of each private gateway that is blocked from now on; it must not throw. */
  whenBlocked(listener: (peer: string) => void): void {
    this.listeners.push(listener);
  }

  /** Lets a private gateway register where not everyone may; a block, if there is one, stays. */
  async allow(peer: string): Promise<void> {
    await this.parts.records.put('allowed-peers', readNodeId(peer), { since: this.parts.clock.now() });
  }

  /** Refuses a private gateway from now on, here at once and in every process within five seconds. */
  async block(peer: string): Promise<void> {
    await this.parts.records.put('blocked-peers', readNodeId(peer), { since: this.parts.clock.now() });
    await this.tell();
  }

  /** Ends a block. */
  async unblock(peer: string): Promise<void> {
    await this.parts.records.delete('blocked-peers', readNodeId(peer));
    await this.tell();
  }

  /** All that are registered, allowed or blocked, by node id. */
  async *list(): AsyncGenerator<PeerReport> {
    const allowed = new Set<string>();
    for await (const { key } of this.parts.records.list('allowed-peers')) {
      allowed.add(key);
    }
    const others = new Set([...allowed, ...this.blocked]);
    const report = (id: string) => ({ id, isAllowed: allowed.has(id), isBlocked: this.isBlocked(id) });
    for await (const { key, fields } of this.parts.records.list('private-gateways')) {
      others.delete(key);
      yield { ...report(key), registered: Number(fields['registered']) };
    }
    for (const id of [...others].sort()) {
      yield report(id);
    }
  }

  /** Looks whether something has changed elsewhere. To be called every two seconds or so. @throws StoreError */
  refresh(): Promise<void> {
    this.refreshing = this.refreshing
      .catch(() => undefined)
      .then(async () => {
        const record = await this.parts.records.get('configuration', REVISION);
        if (record?.version !== this.revision) {
          await this.reload();
        }
      });
    return this.refreshing;
  }

  [Symbol.dispose](): void {
    this.subscription?.close();
  }

  /** Makes a change known, after it was written. */
  private async tell(): Promise<void> {
    await this.parts.records.put('configuration', REVISION, { changed: this.parts.clock.now() });
    this.parts.signals.publish(CHANNEL, Buffer.alloc(0));
    await this.refresh();
  }

  private async reload(): Promise<void> {
    // Read first: what changes during the listing is found by the next look.
    const record = await this.parts.records.get('configuration', REVISION);
    const blocked = new Set<string>();
    for await (const { key } of this.parts.records.list('blocked-peers')) {
      blocked.add(key);
    }
    const before = this.blocked;
    this.blocked = blocked;
    this.revision = record?.version;
    for (const peer of blocked) {
      if (!before.has(peer)) {
        for (const listener of this.listeners) {
          listener(peer);
        }
      }
    }
  }
}

/** @throws TypeError when the text is no node id */
function readNodeId(text: string): string {
  if (!NODE_ID.test(text)) {
    throw new TypeError('A node id is a 0 and 64 lower-case hexadecimal digits');
  }
  return text;
}
