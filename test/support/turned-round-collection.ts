/**
 * The service of collection as it must not be: it lists first, and subscribes then. What comes in between is missed. For
 * tests of what is to find that.
 */

import { rmSync } from 'node:fs';
import { openCore } from '../../src/compose/core.ts';
import { openServers } from '../../src/compose/servers.ts';
import { openTelemetry } from '../../src/compose/telemetry.ts';
import { type Environment, readConfig } from '../../src/config.ts';
import type { Subscription } from '../../src/gateway/ports.ts';
import { createLogger } from '../../src/log.ts';
import { CheckRounds } from '../../src/services/ops/check-rounds.ts';
import { FREE_PORTS, temporaryDirectory } from './gateway.ts';

export interface TurnedRoundCollection extends AsyncDisposable {
  readonly url: string;
}

/** Between the first listing of a mailbox and the subscription to it, a parcel comes there: it is waited for. */
export async function startTurnedRoundCollection(environment: Environment): Promise<TurnedRoundCollection> {
  const directory = temporaryDirectory();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  const read = readConfig({ ...environment, ...FREE_PORTS, DATA_DIR: directory, SERVICES: 'collection' });
  const logger = createLogger('silent', { write: () => undefined });
  const telemetry = stack.use(await openTelemetry(read, logger));
  const core = stack.use(await openCore(read, logger));
  const { mailboxes } = core.storage;
  const subscribe = mailboxes.subscribe.bind(mailboxes);
  const list = mailboxes.list.bind(mailboxes);
  /** Called once a mailbox was listed. */
  const listed = new Map<string, () => void>();
  mailboxes.list = async function* (peer) {
    yield* list(peer);
    listed.get(peer)?.();
    listed.delete(peer);
  };
  mailboxes.subscribe = async (peer, ...listeners) => {
    let subscription: Subscription | undefined;
    let isClosed = false;
    const subscribeLate = async () => {
      const came = Promise.withResolvers<void>();
      const watch = await subscribe(
        peer,
        () => came.resolve(),
        () => undefined,
      );
      await came.promise;
      subscription = await subscribe(peer, ...listeners);
      watch.close();
      if (isClosed) {
        subscription.close();
      }
    };
    listed.set(peer, () => void subscribeLate());
    return {
      close() {
        isClosed = true;
        subscription?.close();
      },
    };
  };
  const [server] = await openServers(read, logger, core, telemetry, {
    checks: new CheckRounds([], logger),
    stopping: () => undefined,
  });
  const url = (await server?.listen()) ?? '';
  stack.defer(async () => server?.stop(AbortSignal.abort()));
  const resources = stack.move();
  return { url, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}
