/** Configuration to objects: the door of couriers, which brings the gRPC library with it and is loaded where it is chosen. */
import type { Config } from '../config.ts';
import { DEFAULT_CARGO_SIZES } from '../gateway/cargo/cargo-collection.ts';
import { CargoCollections } from '../gateway/cargo/cargo-collections.ts';
import { CargoDelivery } from '../gateway/cargo/cargo-delivery.ts';
import type { Logger } from '../log.ts';
import { machineRandom } from '../machine.ts';
import { collectCargo } from '../services/cogrpc/collect-cargo.ts';
import { deliverCargo } from '../services/cogrpc/deliver-cargo.ts';
import { createCogRpcServer } from '../services/cogrpc/server.ts';
import type { Server } from '../services/service.ts';
import type { Core } from './core.ts';
import type { Telemetry } from './telemetry.ts';
import { tlsFiles } from './tls-files.ts';

/** A server that does not listen yet. @throws Error in one line, if TLS files are wrong */
export function openCogRpc(config: Config, logger: Logger, core: Core, telemetry: Telemetry): Promise<Server> {
  const { identity, backends, cargo, revocations, certificates, peers, clock, storage } = core;
  const { records, signals, journal } = backends;
  const delivery = new CargoDelivery({ identity, storage: cargo, revocations, certificates, clock, peers });
  const collections = new CargoCollections({
    identity,
    mailboxes: storage.mailboxes,
    collectedParcels: core.collected,
    sessions: core.sessions,
    records,
    signals,
    certificates,
    random: machineRandom,
    clock,
    revocations,
    peers,
    journal,
    sizes: { start: Math.min(DEFAULT_CARGO_SIZES.start, config.cargoSize), most: config.cargoSize },
  });
  return createCogRpcServer(
    {
      host: config.bindHost,
      port: config.cogrpcPort,
      log: logger,
      tls: tlsFiles(config),
      trustedProxies: config.trustedProxies,
      checkStores: () => backends.check(),
      onCallEnd: (method, status) => telemetry.metrics.called(method, status),
      limits: {
        maxConnections: config.courierConnections,
        maxConnectionsPerAddress: config.courierConnectionsPerAddress,
        maxCalls: config.courierCalls,
        maxCallsPerAddress: config.courierCallsPerAddress,
        maxCallsPerConnection: config.courierCallsPerConnection,
        callIdleTimeout: config.courierCallIdle,
        connectionIdleTimeout: config.courierConnectionIdle,
        connectionMaxAge: config.courierConnectionAge,
      },
    },
    {
      deliverCargo: deliverCargo(delivery, logger, { tell: telemetry.onCargo }),
      collectCargo: collectCargo(collections, logger, telemetry.onCargo),
    },
  );
}
