/**
 * PoWeb (RS-016) but for collection: registration of private gateways, and delivery of their parcels.
 */
import type { FastifyInstance } from 'fastify';
import { MAX_REGISTRATION_REQUEST_OCTETS } from '../../awala/poweb/registration-request.ts';
import { MAX_MESSAGE_LENGTH } from '../../awala/ramf/ramf-message.ts';
import type { ConnectionParams } from '../../gateway/connection-params.ts';
import type { TraceIds } from '../../gateway/errors.ts';
import type { ParcelDelivery } from '../../gateway/parcel-delivery.ts';
import type { Registration } from '../../gateway/registration.ts';
import type { AddressLimits } from '../http/address-limits.ts';
import { requireContentType } from '../http/content-type.ts';
import { HttpError } from '../http/http-error.ts';
import { answerRefusals } from '../http/refusals.ts';
import type { HttpServer } from '../http/server.ts';
import { readCountersignatureHeader } from './countersignature-header.ts';
import { deliveryRefusal, registrationRefusal } from './refusal.ts';

/** In octets. Generous, so that what is a little too long gets the same answer as what is malformed. */
const MAX_PRE_REGISTRATION_BODY = 1024;

/** SHA-256 of a public key, in hexadecimal. */
const KEY_DIGEST = /^[0-9a-f]{64}$/i;

export interface PoWebParts {
  readonly registration: Registration;
  readonly delivery: ParcelDelivery;
  readonly connectionParams: ConnectionParams;
  readonly limits: AddressLimits;
}

/** Puts PoWeb's routes on a server that does not listen yet. */
export async function servePoWeb(server: HttpServer, parts: PoWebParts): Promise<void> {
  const { bodies, log } = server;
  await server.app.register(async (app: FastifyInstance) => {
    answerRefusals(app, { bodies, log, refusalOf: registrationRefusal });
    serveRegistration(app, server, parts);
  });
  await server.app.register(async (app: FastifyInstance) => {
    answerRefusals(app, { bodies, log, refusalOf: deliveryRefusal });
    serveDelivery(app, server, parts);
  });
}

function serveRegistration(app: FastifyInstance, server: HttpServer, parts: PoWebParts): void {
  const { registration, connectionParams, limits } = parts;
  const { bodies, log } = server;

  // The specification's path, and that of deployed clients.
  for (const path of ['/v1/pre-registration', '/v1/pre-registrations']) {
    app.post(path, async (request, reply) => {
      const ids = traced(request);
      requireContentType(request.raw, 'text/plain');
      const authorization = await limitedByAddress(limits, request.ip, 'preRegistration', () =>
        bodies.receive(request.raw, MAX_PRE_REGISTRATION_BODY, async (body) => {
          const digest = readKeyDigest(body);
          await limits.takeSignature(request.ip);
          return registration.preRegister(digest);
        }),
      );
      log.debug(ids, 'Pre-registered');
      return reply.header('content-type', 'application/vnd.awala.node-registration.authorization').send(authorization);
    });
  }

  app.post('/v1/nodes', async (request, reply) => {
    const ids = traced(request);
    requireContentType(request.raw, 'application/vnd.awala.node-registration.request');
    const registered = await limitedByAddress(limits, request.ip, 'registration', () =>
      bodies.receive(request.raw, MAX_REGISTRATION_REQUEST_OCTETS, (body) =>
        registration.register(body, () => limits.takeSignature(request.ip)),
      ),
    );
    ids.peer = registered.peer;
    log.info({ ...ids, address: request.ip }, 'Private gateway registered');
    return reply
      .header('content-type', 'application/vnd.awala.node-registration.registration')
      .send(registered.registration);
  });

  app.get('/connection-params.der', async (_request, reply) =>
    reply.header('content-type', 'application/vnd.etsi.tsl.der').send(await connectionParams.current()),
  );
}

function serveDelivery(app: FastifyInstance, server: HttpServer, { delivery }: PoWebParts): void {
  const { bodies, log } = server;

  app.post('/v1/parcels', async (request, reply) => {
    const ids = traced(request);
    requireContentType(request.raw, 'application/vnd.awala.parcel');
    const countersignature = readCountersignatureHeader(request.headers.authorization);
    await bodies.receive(request.raw, MAX_MESSAGE_LENGTH, (body) =>
      delivery.fromPrivateGateway(body, countersignature, ids),
    );
    log.info({ event: 'accepted', door: 'poweb', ...ids }, 'Parcel accepted');
    return reply.code(202).send();
  });
}

/** Gives a request the ids that trace it. */
function traced(request: { id: string; ids: TraceIds | null }): TraceIds {
  const ids = { trace: request.id };
  request.ids = ids;
  return ids;
}

/** Takes from what the address may do, and counts against it what is refused for its own fault. */
async function limitedByAddress<Result>(
  limits: AddressLimits,
  address: string,
  what: 'preRegistration' | 'registration',
  register: () => Promise<Result>,
): Promise<Result> {
  limits.requireFewFailures('failedRegistration', address);
  await limits.take(what, address);
  try {
    return await register();
  } catch (error) {
    if (isClientsFault(error)) {
      await limits.countFailure('failedRegistration', address);
    }
    throw error;
  }
}

function isClientsFault(error: unknown): boolean {
  if (error instanceof HttpError) {
    // A phone that loses its network does no wrong.
    return error.status < 500 && error.code !== 'CLIENT_GONE';
  }
  const refusal = registrationRefusal(error);
  return refusal !== undefined && refusal.status < 500;
}

function readKeyDigest(body: Buffer): Buffer {
  const text = body.toString('latin1');
  if (!KEY_DIGEST.test(text)) {
    throw new HttpError('KEY_DIGEST_MALFORMED', 400, 'Body must be the SHA-256 of a public key: 64 hexadecimal digits');
  }
  return Buffer.from(text, 'hex');
}
