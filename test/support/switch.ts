/** What stands before a server and can be switched off: then nobody listens there, or nobody says anything. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { freePort } from './free-port.ts';

export interface Switch extends AsyncDisposable {
  readonly port: number;
  /** As of a server that ended: connections break, and new ones are refused. */
  off(): Promise<void>;
  /** As of a server that hangs: connections stay, and nothing comes through until it is switched on. */
  hush(): void;
  on(): Promise<void>;
}

/** Starts one, switched on unless told otherwise. */
export async function startSwitch(targetPort: number, { isOn = true } = {}): Promise<Switch> {
  const port = await freePort();
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  let isHushed = false;
  const keep = (socket: Socket, other: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      other.destroy();
    });
    socket.on('data', (chunk) => {
      if (!other.write(chunk)) {
        socket.pause();
      }
    });
    other.on('drain', () => isHushed || socket.resume());
    if (isHushed) {
      socket.pause();
    }
  };
  const open = async () => {
    server = createServer((client) => {
      const upstream = connect(targetPort, '127.0.0.1');
      keep(client, upstream);
      keep(upstream, client);
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  const close = async () => {
    const closed = server && once(server, 'close');
    server?.close();
    server = undefined;
    for (const socket of sockets) {
      socket.destroy();
    }
    await closed;
  };
  if (isOn) {
    await open();
  }
  return {
    port,
    off: close,
    hush() {
      isHushed = true;
      for (const socket of sockets) {
        socket.pause();
      }
    },
    async on() {
      isHushed = false;
      for (const socket of sockets) {
        socket.resume();
      }
      if (!server) {
        await open();
      }
    },
    [Symbol.asyncDispose]: close,
  };
}
