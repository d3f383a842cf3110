/** Ports of this machine's loopback where the cluster's pods find them: the emulators that stand for a cloud. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from './loopback-port.ts';

export interface HostPorts extends AsyncDisposable {
  /** This machine, as the cluster sees it. */
  readonly address: string;
  /** The text, with each port of the loopback in it replaced by one that pods reach. */
  translate(text: string): Promise<string>;
}

/** @param node an address of the cluster's node: pods find this machine where the node does */
export async function openHostPorts(node: string): Promise<HostPorts> {
  const address = await addressTowards(node);
  const servers = new Map<number, Server>();
  const sockets = new Set<Socket>();
  const open = async (port: number) => {
    const server = createServer((far) => {
      const near = connect(port, '127.0.0.1');
      join(near, far, sockets);
    });
    server.listen(0, address);
    await once(server, 'listening');
    servers.set(port, server);
    return server;
  };
  return {
    address,
    async translate(text) {
      const port = Number(/127\.0\.0\.1:(\d+)/.exec(text)?.[1] ?? 0);
      if (port === 0) {
        return text;
      }
      const server = servers.get(port) ?? (await open(port));
      return text.replace(`127.0.0.1:${port}`, `${address}:${(server.address() as AddressInfo).port}`);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) {
        socket.destroy();
      }
      await Promise.all([...servers.values()].map((server) => once(server.close(), 'close')));
    },
  };
}

/** The address from which this machine speaks to another. */
async function addressTowards(other: string): Promise<string> {
  const socket = createSocket('udp4');
  socket.connect(9, other);
  await once(socket, 'connect');
  const { address } = socket.address();
  socket.close();
  return address;
}
