/** Configuration to objects: the workers, which go on without requests. */

import type { Config } from '../config.ts';
import type { TellOfCargo } from '../gateway/cargo/cargo-events.ts';
import { CargoLoads } from '../gateway/cargo/cargo-loads.ts';
import { CargoProcessing } from '../gateway/cargo/cargo-processing.ts';
import type { Logger } from '../log.ts';
import { machineChance } from '../machine.ts';
import type { Check } from '../services/service.ts';
import { CargoWorker } from '../workers/cargo-worker.ts';
import { dialRule } from '../workers/internet-delivery/dialler.ts';
import { DnsOverHttps } from '../workers/internet-delivery/dns-over-https.ts';
import { InternetDelivery } from '../workers/internet-delivery/internet-delivery.ts';
import { PoHttpClient } from '../workers/internet-delivery/pohttp-client.ts';
import type { Core } from './core.ts';

/** What works on until it is told to stop. */
export interface Worker extends Check {
  /**
   * Takes nothing new, finishes what is in hand, and gives back what is not finished by the deadline.
   *
   * @param deadline when it aborts, what is still under way is cut
   */
  stop(deadline: AbortSignal): Promise<void>;
}

/** Starts the worker that delivers outboxes to the Internet. */
export function startInternetDelivery(config: Config, logger: Logger, { backends, storage, clock }: Core): Worker {
  const mayDial = dialRule(config.allowPrivateDestinations);
  const client = new PoHttpClient({
    dns: new DnsOverHttps({ url: config.resolverUrl, mayDial, clock }),
    mayDial,
    asksMachine: config.allowPrivateDestinations,
    connections: config.deliveriesPerDestination,
    chance: machineChance,
  });
  const delivery = new InternetDelivery({
    queue: storage.internetQueue,
    outbox: storage.outbox,
    sent: storage.sent,
    deliver: (internetAddress, parcel) => client.deliver(internetAddress, parcel),
    clock,
    chance: machineChance,
    log: logger,
    journal: backends.journal,
    perDestination: config.deliveriesPerDestination,
  });
  delivery.start();
  return {
    name: delivery.name,
    check: () => delivery.check(),
    async stop(deadline) {
      await delivery.stop(deadline);
      await client[Symbol.asyncDispose]();
      await delivery.settled();
    },
  };
}

/** Starts the worker that opens the cargo of couriers. */
export function startCargoWorker(logger: Logger, core: Core, tell?: TellOfCargo): Worker {
  const { backends, identity, storage, cargo: cargoStorage, collected, sessions, revocations, certificates } = core;
  const { delivery, clock } = core;
  const processing = new CargoProcessing({
    identity,
    storage: cargoStorage,
    sessions,
    delivery,
    collected,
    loads: new CargoLoads(backends),
    mailboxes: storage.mailboxes,
    revocations,
    certificates,
    clock,
    journal: backends.journal,
  });
  const worker = new CargoWorker({
    queue: backends.work,
    processing,
    log: logger,
    clock,
    chance: machineChance,
    ...(tell && { tell }),
  });
  worker.start();
  return worker;
}
