/** The door of couriers on a real socket, over a cargo room with real stores. */
import type { TestContext } from 'node:test';
import { deliverCargo } from '../../src/services/cogrpc/deliver-cargo.ts';
import { type CogRpcServer, type CogRpcServerOptions, createCogRpcServer } from '../../src/services/cogrpc/server.ts';
import { type CargoRoom, type CargoRoomOptions, CargoSender, openCargoRoom } from './cargo-room.ts';
import { logLines } from './log-lines.ts';

export interface CourierDoor extends CargoRoom {
  readonly server: CogRpcServer;
  readonly url: string;
  readonly sender: CargoSender;
  /** What the door logged, from level info upwards. */
  readonly lines: readonly Record<string, unknown>[];
}

export interface CourierDoorOptions extends CargoRoomOptions {
  readonly server?: Partial<CogRpcServerOptions>;
  /** Milliseconds; forever by default, so that only half-closing has the newest cargo acknowledged. */
  readonly quiet?: number;
}

const FOREVER = 2 ** 31 - 1;

/** Opens the door until the test ends. */
export async function openCourierDoor(t: TestContext, options: CourierDoorOptions = {}): Promise<CourierDoor> {
  const cargo = await openCargoRoom(options);
  const { log, lines } = logLines('info');
  const server = await createCogRpcServer(
    { host: '127.0.0.1', port: 0, log, checkStores: () => cargo.room.backends.check(), ...options.server },
    { deliverCargo: deliverCargo(cargo.delivery, log, { quiet: options.quiet ?? FOREVER }) },
  );
  const url = await server.listen();
  t.after(async () => {
    await server.stop(AbortSignal.abort());
    await cargo[Symbol.asyncDispose]();
  });
  return { ...cargo, server, url, lines, sender: await CargoSender.register(cargo.room) };
}
