/**
 * An emulator of the Resource Manager, as far as the policies of projects go.
 *
 * Source: https://cloud.google.com/resource-manager/reference/rest/v3/projects/setIamPolicy
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { type EmulatedPolicy, Policies } from '../iam.ts';

const METHOD_PATH = /^\/v3\/(projects\/[^/:]+):(getIamPolicy|setIamPolicy)$/;

export interface ResourceManagerEmulator extends AsyncDisposable {
  readonly endpoint: string;
  readonly policies: Policies;
  /** Is called before each method, and may change what is there. */
  before: (method: string) => void;
}

export async function startResourceManager(): Promise<ResourceManagerEmulator> {
  const policies = new Policies();
  const server = createServer(async (request, response) => {
    const [, resource = '', method = ''] = METHOD_PATH.exec(request.url ?? '') ?? [];
    const { policy } = (await json(request)) as { policy?: EmulatedPolicy };
    emulator.before(method);
    const answer = method === 'setIamPolicy' && policy ? policies.set(resource, policy) : policies.get(resource);
    response.writeHead(answer ? 200 : 409, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? { error: { code: 409, message: 'There were concurrent policy changes.' } }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const emulator: ResourceManagerEmulator = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    policies,
    before: () => undefined,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return emulator;
}
