/**
 * PoHTTP (RS-007): parcels from the Internet for endpoints behind this gateway.
 */
import type { FastifyInstance } from 'fastify';
import { MAX_MESSAGE_LENGTH } from '../../awala/ramf/ramf-message.ts';
import type { ParcelDelivery } from '../../gateway/parcel-delivery.ts';
import { requireContentType } from '../http/content-type.ts';
import { answerRefusals } from '../http/refusals.ts';
import type { HttpServer } from '../http/server.ts';
import { pohttpRefusal } from './refusal.ts';

/** Puts PoHTTP's route on a server that does not listen yet. */
export async function servePoHttp(server: HttpServer, { delivery }: { delivery: ParcelDelivery }): Promise<void> {
  const { bodies, log } = server;
  await server.app.register(async (app: FastifyInstance) => {
    answerRefusals(app, { bodies, log, refusalOf: pohttpRefusal });

    app.post('/', async (request, reply) => {
      const ids = { trace: request.id };
      request.ids = ids;
      requireContentType(request.raw, 'application/vnd.awala.parcel');
      await bodies.receive(request.raw, MAX_MESSAGE_LENGTH, (body) => delivery.fromInternet(body, ids));
      log.info({ event: 'accepted', door: 'pohttp', ...ids }, 'Parcel accepted');
      return reply.code(202).send();
    });
  });
}
