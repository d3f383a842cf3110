/** What supervisors of containers ask. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite, type TestContext, test } from 'node:test';
import { runRelayGateway } from '../support/relay-gateway.ts';

/** An ops port that answers every request so. */
async function opsPort(context: TestContext, status: number, body: string): Promise<{ port: string; paths: string[] }> {
  const paths: string[] = [];
  const server = createServer((request, response) => {
    paths.push(request.url ?? '');
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  context.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: String((server.address() as AddressInfo).port), paths };
}

suite('relay-gateway health', () => {
  test('ends with 0 where the gateway is well, and prints its checks', async (context) => {
    const { port, paths } = await opsPort(context, 200, '[{"name":"stores","ok":true}]');
    const { code, stdout } = await runRelayGateway(['health'], { OPS_PORT: port });
    assert.equal(code, 0);
    assert.equal(stdout, '[{"name":"stores","ok":true}]\n');
    assert.deepEqual(paths, ['/ping']);
  });

  test('asks at this machine where the port is open to all', async (context) => {
    const { port } = await opsPort(context, 200, '[]');
    assert.equal((await runRelayGateway(['health'], { OPS_PORT: port, OPS_BIND_HOST: '0.0.0.0' })).code, 0);
  });

  test('ends with 1 where a check fails', async (context) => {
    const { port } = await opsPort(context, 503, '[{"name":"stores","ok":false}]');
    const { code, stdout } = await runRelayGateway(['health'], { OPS_PORT: port });
    assert.equal(code, 1);
    assert.match(stdout, /"ok":false/);
  });

  test('ends with 1 and one line where nobody answers', async () => {
    const { code, stderr } = await runRelayGateway(['health'], { OPS_PORT: '1' });
    assert.equal(code, 1);
    assert.match(stderr, /^relay-gateway: No answer from http:\/\/127\.0\.0\.1:1\/ping: .+\n$/);
  });
});
