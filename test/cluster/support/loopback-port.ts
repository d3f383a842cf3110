/** A port of the loopback that leads elsewhere: the official client speaks plain HTTP to this machine only. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface LoopbackPort extends AsyncDisposable {
  readonly url: string;
}

/** Each connection to it is one to `host` and `port`, and ends with it, as it ends. */
export async function openLoopbackPort({ host, port }: { host: string; port: number }): Promise<LoopbackPort> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, host);
    join(near, far, sockets);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy();
      }
      server.close();
      await once(server, 'close');
    },
  };
}

/** Makes two sockets one connection; they are among `sockets` for as long as they are open. */
export function join(near: Socket, far: Socket, sockets: Set<Socket>): void {
  for (const [socket, other] of [
    [near, far],
    [far, near],
  ] as const) {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.pipe(other);
    // An end is piped; a break is passed on as a break.
    socket.on('error', () => other.resetAndDestroy());
    socket.on('close', () => sockets.delete(socket));
  }
}
