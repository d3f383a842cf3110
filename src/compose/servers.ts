/** Configuration to objects: the servers of the chosen services, given what they need. */

import type { Config, ServiceName } from '../config.ts';
import { ParcelCollections } from '../gateway/parcel-collections.ts';
import { Registration } from '../gateway/registration.ts';
import { MINUTE, SECOND } from '../gateway/time.ts';
import type { Logger } from '../log.ts';
import { machineRandom } from '../machine.ts';
import { serveCollection } from '../services/collection/collection.ts';
import { AddressLimits } from '../services/http/address-limits.ts';
import { BodyBudget } from '../services/http/request-bodies.ts';
import { createHttpServer, type HttpServer } from '../services/http/server.ts';
import { type OpsParts, serveOps } from '../services/ops/ops.ts';
import { servePoHttp } from '../services/pohttp/pohttp.ts';
import { servePoWeb } from '../services/poweb/poweb.ts';
import type { Server } from '../services/service.ts';
import { TEXT_FORMAT } from '../telemetry/metrics.ts';
import type { Core } from './core.ts';
import type { Telemetry } from './telemetry.ts';
import { tlsFiles } from './tls-files.ts';

/** Room for one message of any size, in octets. */
const LARGEST_BODY = 10 * 1024 * 1024;

/** Over which time the limits per address count, in milliseconds. */
const ADDRESS_PERIOD = 5 * MINUTE;

/**
 * The servers of the chosen services, with their routes; none listens yet.
 *
 * @param ops what the ops port asks
 */
export async function openServers(
  config: Config,
  logger: Logger,
  core: Core,
  telemetry: Telemetry,
  ops: Pick<OpsParts, 'checks' | 'stopping'>,
): Promise<Server[]> {
  const { identity, backends, clock, connectionParams, sessionKeys, storage, peers, revocations, certificates } = core;
  const { peerLimits, delivery } = core;
  const { metrics } = telemetry;
  const { records, meters, journal } = backends;
  const isChosen = (name: ServiceName) => config.services.includes(name);
  const registrationRate = { limit: config.registrationsPerAddress, period: ADDRESS_PERIOD };
  const limits = new AddressLimits({
    meters,
    clock,
    rates: {
      preRegistration: registrationRate,
      registration: registrationRate,
      failedHandshake: { limit: config.handshakesPerAddress, period: ADDRESS_PERIOD },
      request: { limit: config.requestsPerAddress, period: ADDRESS_PERIOD },
      signedRequest: { limit: config.requestsPerAddress, period: ADDRESS_PERIOD },
      // Half of all for one neighbourhood.
      signature: { limit: Math.ceil(config.signaturesPerSecond / 2), period: SECOND },
    },
  });
  const bodyBudget = new BodyBudget(config.bodiesInFlight, {
    maxIncomplete: Math.max(config.bodiesInFlight / 4, LARGEST_BODY),
    maxIncompletePerAddress: Math.max(config.bodiesInFlight / 6, LARGEST_BODY),
  });
  const open = (name: string, port: number): Promise<HttpServer> =>
    createHttpServer({
      name,
      host: config.bindHost,
      port,
      log: logger,
      tls: tlsFiles(config),
      trustedProxies: config.trustedProxies,
      bodyBudget,
      addressLimits: limits,
      onAnswer(route, status, took) {
        metrics.answered(name, route, status, took);
        logger.debug({ service: name, route, status, took }, 'Answered');
      },
      limits: {
        maxConnections: config.connectionsPerPort,
        maxConnectionsPerAddress: config.socketsPerAddress,
        minUploadOctetsPerSecond: config.minUploadRate,
      },
    });

  const servers: Server[] = [];
  if (isChosen('poweb') || isChosen('collection')) {
    // In one process the two share a port, as clients know only one address for both.
    const server = await open(isChosen('poweb') ? 'poweb' : 'collection', config.powebPort);
    if (isChosen('poweb')) {
      const registration = new Registration({ identity, sessionKeys, records, random: machineRandom, clock, peers });
      await servePoWeb(server, { registration, delivery, connectionParams, limits });
    }
    if (isChosen('collection')) {
      const collections = new ParcelCollections({
        identity,
        storage,
        certificates,
        clock,
        journal,
        peers,
        peerLimits,
        revocations,
        openPerPeer: config.openCollectionsPerPeer,
      });
      const door = serveCollection(server, { collections, limits, maxAge: config.collectionMaxAge });
      metrics.metrics.looked({ name: 'collections', help: 'Connections of private gateways that collect.' }, () => [
        { value: door.size },
      ]);
    }
    servers.push(server);
  }
  if (isChosen('pohttp')) {
    const server = await open('pohttp', config.pohttpPort);
    await servePoHttp(server, { delivery });
    servers.push(server);
  }
  if (isChosen('cogrpc')) {
    // A library of its own, which only this door needs.
    const { openCogRpc } = await import('./cogrpc.ts');
    servers.push(await openCogRpc(config, logger, core, telemetry));
  }
  if (isChosen('ops')) {
    // For this machine and its cluster: neither TLS nor proxies stand before it.
    const server = await createHttpServer({ name: 'ops', host: config.opsBindHost, port: config.opsPort, log: logger });
    const text = { contentType: TEXT_FORMAT, text: () => metrics.metrics.text() };
    await serveOps(server, { ...ops, metrics: text });
    servers.push(server);
  }
  return servers;
}
