/** Configuration to objects, the second half: the servers of the chosen services, given what they need. */
import { CertificateCache } from './awala/pki/certificate-cache.ts';
import type { Core } from './compose.ts';
import type { Config, ServiceName } from './config.ts';
import { ParcelCollections } from './gateway/parcel-collections.ts';
import { ParcelDelivery } from './gateway/parcel-delivery.ts';
import { PeerLimits } from './gateway/peer-limits.ts';
import { Registration } from './gateway/registration.ts';
import { MINUTE, SECOND } from './gateway/time.ts';
import type { Logger } from './log.ts';
import { machineRandom } from './machine.ts';
import { serveCollection } from './services/collection/collection.ts';
import { AddressLimits } from './services/http/address-limits.ts';
import { BodyBudget } from './services/http/request-bodies.ts';
import { createHttpServer, type HttpServer } from './services/http/server.ts';
import type { TlsFiles } from './services/http/tls-certificate.ts';
import { serveOps } from './services/ops/ops.ts';
import { servePoHttp } from './services/pohttp/pohttp.ts';
import { servePoWeb } from './services/poweb/poweb.ts';
import type { Check } from './services/service.ts';

/** Over which time the limits per address count, in milliseconds. */
const ADDRESS_PERIOD = 5 * MINUTE;

/**
 * The servers of the chosen services, with their routes; none listens yet.
 *
 * @param checks what `GET /ping` on the ops port asks; more may be added later
 */
export async function openServers(
  config: Config,
  logger: Logger,
  core: Core,
  checks: readonly Check[],
): Promise<HttpServer[]> {
  const { identity, backends, clock, connectionParams, sessionKeys, storage, peers } = core;
  const { records, meters, journal } = backends;
  const isChosen = (name: ServiceName) => config.services.includes(name);
  const certificates = new CertificateCache();
  const peerLimits = new PeerLimits(meters, {
    deliveries: config.deliveriesPerPeer,
    collections: config.collectionsPerPeer,
  });
  const delivery = new ParcelDelivery({ identity, storage, meters, certificates, clock, journal, peers, peerLimits });
  const registrationRate = { limit: config.registrationsPerAddress, period: ADDRESS_PERIOD };
  const limits = new AddressLimits({
    meters,
    clock,
    rates: {
      preRegistration: registrationRate,
      registration: registrationRate,
      failedHandshake: { limit: config.handshakesPerAddress, period: ADDRESS_PERIOD },
      request: { limit: config.requestsPerAddress, period: ADDRESS_PERIOD },
      // Half of all for one neighbourhood.
      signature: { limit: Math.ceil(config.signaturesPerSecond / 2), period: SECOND },
    },
  });
  const bodyBudget = new BodyBudget(config.bodiesInFlight);
  const open = (name: string, port: number): Promise<HttpServer> =>
    createHttpServer({
      name,
      host: config.bindHost,
      port,
      log: logger,
      tls: tlsFiles(config),
      trustedProxies: config.trustedProxies,
      bodyBudget,
      limits: { maxConnections: config.connectionsPerPort, minUploadOctetsPerSecond: config.minUploadRate },
    });

  const servers: HttpServer[] = [];
  if (isChosen('poweb') || isChosen('collection')) {
    // In one process the two share a port, as clients know only one address for both.
    const server = await open(isChosen('poweb') ? 'poweb' : 'collection', config.powebPort);
    if (isChosen('poweb')) {
      const registration = new Registration({ identity, sessionKeys, records, random: machineRandom, clock, peers });
      await servePoWeb(server, { registration, delivery, connectionParams, limits });
    }
    if (isChosen('collection')) {
      const collections = new ParcelCollections({ identity, storage, certificates, clock, journal, peers, peerLimits });
      serveCollection(server, { collections, limits, maxAge: config.collectionMaxAge });
    }
    servers.push(server);
  }
  if (isChosen('pohttp')) {
    const server = await open('pohttp', config.pohttpPort);
    await servePoHttp(server, { delivery });
    servers.push(server);
  }
  if (isChosen('ops')) {
    // For this machine and its cluster: neither TLS nor proxies stand before it.
    const server = await createHttpServer({ name: 'ops', host: config.opsBindHost, port: config.opsPort, log: logger });
    await serveOps(server, { checks });
    servers.push(server);
  }
  return servers;
}

function tlsFiles({ tlsCertificateFile, tlsKeyFile }: Config): TlsFiles | undefined {
  return tlsCertificateFile && tlsKeyFile ? { certificateFile: tlsCertificateFile, keyFile: tlsKeyFile } : undefined;
}
