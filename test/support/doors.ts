/** PoWeb and PoHTTP on real sockets, over a gateway room with real stores and a clock that the test moves. */
import type { TestContext } from 'node:test';
import type { Amount } from '../../src/gateway/ports.ts';
import { AddressLimits, type AddressRates } from '../../src/services/http/address-limits.ts';
import { createHttpServer } from '../../src/services/http/server.ts';
import { servePoHttp } from '../../src/services/pohttp/pohttp.ts';
import { servePoWeb } from '../../src/services/poweb/poweb.ts';
import { type GatewayRoom, openGatewayRoom } from './gateway-room.ts';
import { logLines } from './log-lines.ts';
import { ManualClock } from './manual-clock.ts';

export interface Doors {
  readonly room: GatewayRoom;
  readonly poweb: string;
  readonly pohttp: string;
  /** What the doors logged, from level info upwards. */
  readonly lines: readonly Record<string, unknown>[];
}

/** Opens the doors until the test ends. */
export async function openDoors(
  t: TestContext,
  options: {
    rates?: Partial<AddressRates>;
    trustedProxies?: readonly string[];
    /** What one mailbox and one outbox may hold. */
    quotas?: { mailboxQuota?: Amount; outboxQuota?: Amount };
  } = {},
): Promise<Doors> {
  const { rates = {}, trustedProxies = [], quotas = {} } = options;
  const room = await openGatewayRoom(new ManualClock(Date.now()), quotas);
  const { log, lines } = logLines('info');
  const server = { host: '127.0.0.1', port: 0, log, trustedProxies };
  const limits = new AddressLimits({ meters: room.backends.meters, clock: room.clock, rates });
  const poweb = await createHttpServer({ name: 'poweb', ...server, addressLimits: limits });
  const pohttp = await createHttpServer({ name: 'pohttp', ...server, addressLimits: limits });
  await servePoWeb(poweb, { ...room, limits });
  await servePoHttp(pohttp, room);
  const urls = { poweb: await poweb.listen(), pohttp: await pohttp.listen() };
  t.after(async () => {
    await Promise.all([poweb.stop(AbortSignal.abort()), pohttp.stop(AbortSignal.abort())]);
    await room[Symbol.asyncDispose]();
  });
  return { room, lines, ...urls };
}
