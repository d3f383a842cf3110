/**
 * The control socket: how commands on this machine ask the gateway that runs, through a Unix socket in its data
 * directory that only its user may open.
 *
 * It speaks HTTP, so that `curl --unix-socket` works too: `GET /identity`, `POST /peers/block?id=…`, answered with JSON.
 */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createServer } from '../http/node-http.ts';

/** What a question is about: the names and values of its query. */
export type ControlParameters = Readonly<Record<string, string>>;

/**
 * What the gateway answers, by question: `GET identity`, or `POST peers/block` for what changes something. A value goes as
 * JSON, octets and streams of them as they are.
 */
export type ControlAnswers = Readonly<Record<string, (parameters: ControlParameters) => Promise<unknown>>>;

/** Takes away group's and others' permissions, and execution. */
const OWNER_ONLY = 0o177;

/**
 * Listens at `path`; a socket that is there and does not answer was left by a process that died.
 *
 * @throws Error when the path cannot be bound, or another process answers there
 */
export async function openControlSocket(path: string, answers: ControlAnswers): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://control');
    const question = `${request.method} ${pathname.slice(1)}`;
    const answer = Object.hasOwn(answers, question) ? answers[question] : undefined;
    if (!answer) {
      reply(response, 404, { message: `No such question: ${request.method} ${request.url}` });
      return;
    }
    answer(Object.fromEntries(searchParams)).then(
      (value) => reply(response, 200, value),
      (error: Error) => reply(response, 500, { message: error.message }),
    );
  });
  if (await isAnswered(path)) {
    throw new Error(`Another gateway is running on data directory ${resolve(dirname(path))}`);
  }
  rmSync(path, { force: true });
  // The socket is bound within `listen`, so no other file of ours is made under this mask.
  const mask = process.umask(OWNER_ONLY);
  try {
    server.listen(path);
  } finally {
    process.umask(mask);
  }
  await once(server, 'listening');
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function isAnswered(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

function reply(response: ServerResponse, status: number, value: unknown): void {
  const isRaw = Buffer.isBuffer(value) || value instanceof Readable;
  const type = isRaw ? 'application/octet-stream' : 'application/json';
  response.writeHead(status, { 'content-type': type, connection: 'close' });
  if (isRaw) {
    // Whoever asked and went away wants no more of it.
    pipeline(Buffer.isBuffer(value) ? Readable.from([value]) : value, response).catch(() => undefined);
    return;
  }
  response.end(JSON.stringify(value));
}
