/**
 * What every port answers by itself: `GET /` and `HEAD /`, OPTIONS, methods that a path does not have, unknown paths.
 */
import type { FastifyInstance } from 'fastify';
import { answer } from './refusals.ts';
import type { RequestBodies } from './request-bodies.ts';

const GREETING = Buffer.from('This is an Awala Internet gateway.\n');

/** Call before any other routes are registered on `app`. */
export function answerMethods(app: FastifyInstance, bodies: RequestBodies): void {
  const methods = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set();
    methods.set(url, known);
    for (const name of [method].flat()) {
      known.add(name);
    }
  });

  // Android probes it every five seconds.
  app.get('/', (_request, reply) => {
    reply.header('content-type', 'text/plain').send(GREETING);
  });

  app.setNotFoundHandler((request, reply) => {
    const [path = ''] = request.url.split('?', 1);
    const known = methods.get(path);
    if (!known) {
      answer(request, reply, { status: 404, code: 'NOT_FOUND', message: 'There is nothing here' }, bodies);
      return;
    }
    const allow = [...known, 'OPTIONS'].join(', ');
    if (request.method === 'OPTIONS') {
      reply.code(204).header('allow', allow).send();
      return;
    }
    const message = `Methods here are ${allow}`;
    answer(request, reply, { status: 405, code: 'METHOD_NOT_ALLOWED', message, headers: { allow } }, bodies);
  });
}
