/** The CogRPC server itself: health, metadata, connections, TLS, and its end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFile, rename } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import {
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { CARGO_RELAY_NAMES } from '../../../src/services/cogrpc/cargo-relay.ts';
import { openCourierDoor } from '../../support/courier-door.ts';
import { projectRoot } from '../../support/gateway.ts';
import { RawCourier } from '../../support/raw-courier.ts';
import { newTlsCertificate } from '../../support/tls-certificate.ts';

const PAUSE = 10;

interface Answer {
  readonly status: string;
}

/** A client of the health service, made from its proto file. */
function healthClient(t: TestContext, url: string) {
  const definition = loadSync(path.join(projectRoot, 'proto/grpc/health/v1/health.proto'), { enums: String });
  const packages = loadPackageDefinition(definition) as unknown as {
    grpc: { health: { v1: { Health: ServiceClientConstructor } } };
  };
  const client = new packages.grpc.health.v1.Health(new URL(url).host, credentials.createInsecure());
  t.after(() => client.close());
  return {
    check: (service: string) =>
      new Promise<string>((resolve, reject) => {
        client['Check']?.({ service }, (error: ServiceError | null, answer?: Answer) =>
          error ? reject(error) : resolve(answer?.status ?? ''),
        );
      }),
    watch: (service: string) => client['Watch']?.({ service }) as ClientReadableStream<Answer>,
  };
}

describe('The health of the CogRPC server', () => {
  test('is told for each service by its name, and for all together', async (t) => {
    const { url } = await openCourierDoor(t);
    const health = healthClient(t, url);
    for (const name of ['', ...CARGO_RELAY_NAMES]) {
      assert.equal(await health.check(name), 'SERVING');
    }
    await assert.rejects(health.check('example.Unknown'), { code: status.NOT_FOUND });
  });

  test('is that of the stores', async (t) => {
    let isAway = false;
    const checkStores = () => (isAway ? Promise.reject(new Error('Stores are away')) : Promise.resolve());
    const { url, server } = await openCourierDoor(t, { server: { checkStores, healthInterval: PAUSE } });
    const health = healthClient(t, url);
    const watch = health.watch(CARGO_RELAY_NAMES[0]);
    const states = watch[Symbol.asyncIterator]();
    const next = async () => (await states.next()).value?.status;
    assert.equal(await next(), 'SERVING');
    await server.check();
    isAway = true;
    assert.equal(await next(), 'NOT_SERVING');
    assert.equal(await health.check(''), 'NOT_SERVING');
    await assert.rejects(server.check(), /stores are away/);
    isAway = false;
    assert.equal(await next(), 'SERVING');
    watch.on('error', () => undefined);
    watch.cancel();

    const unknown = health.watch('example.Unknown');
    unknown.on('error', () => undefined);
    const [answer] = (await once(unknown, 'data')) as [Answer];
    assert.equal(answer.status, 'SERVICE_UNKNOWN');
    unknown.cancel();
  });

  test('ends for its watchers when the server stops', async (t) => {
    const { url, server } = await openCourierDoor(t);
    const watch = healthClient(t, url).watch('');
    const states: string[] = [];
    watch.on('data', ({ status: state }: Answer) => states.push(state));
    await once(watch, 'data');
    const ended = once(watch, 'end');
    await server.stop(AbortSignal.timeout(5000));
    await ended;
    assert.deepEqual(states, ['SERVING', 'NOT_SERVING']);
  });
});

describe('Connections of couriers', () => {
  test('may bring 16 KiB of metadata', async (t) => {
    const { url } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const call = courier.deliverCargo({ authorization: 'x'.repeat(16 * 1024) });
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
  });

  test('are refused calls with much more than that', async (t) => {
    const { url } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const call = courier.deliverCargo({ authorization: 'x'.repeat(128 * 1024) });
    call.stream.end();
    assert.notEqual(await call.ended(), status.OK);
  });

  test('are dropped when there are too many', async (t) => {
    const { url } = await openCourierDoor(t, { server: { limits: { maxConnections: 1 } } });
    using first = new RawCourier(url);
    const call = first.deliverCargo();
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
    const { hostname, port } = new URL(url);
    const second = connect(Number(port), hostname);
    second.on('error', () => undefined);
    await once(second, 'close');
  });

  test('are dropped when one network has too many, and those of others are not', async (t) => {
    const { url } = await openCourierDoor(t, { server: { limits: { maxConnectionsPerAddress: 1 } } });
    using first = new RawCourier(url);
    const call = first.deliverCargo();
    const { hostname, port } = new URL(url);
    const second = connect(Number(port), hostname);
    second.on('error', () => undefined);
    await once(second, 'close');
    using other = new RawCourier(url, {}, '127.0.1.1');
    for (const open of [call, other.deliverCargo()]) {
      open.stream.end();
      assert.equal(await open.ended(), status.OK);
    }
    first.session.destroy();
    await once(first.session, 'close');
    let answer: number | undefined;
    while (answer !== status.OK) {
      using next = new RawCourier(url);
      const again = next.deliverCargo();
      again.stream.end();
      answer = await again.ended();
    }
  });

  test('are closed when they idle, and asked to come back when they are old', async (t) => {
    const idle = await openCourierDoor(t, { server: { limits: { connectionIdleTimeout: 100 } } });
    using quiet = new RawCourier(idle.url);
    await once(quiet.session, 'close');

    const old = await openCourierDoor(t, { server: { limits: { connectionMaxAge: 200 } } });
    using aged = new RawCourier(old.url);
    const call = aged.deliverCargo();
    await once(aged.session, 'goaway');
    // What is under way goes on.
    await call.send('1', await old.sender.cargo([]));
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
  });

  test('may be over TLS, with a certificate that changes while they are open', async (t) => {
    using first = await newTlsCertificate('localhost');
    using second = await newTlsCertificate('localhost');
    const tls = { certificateFile: first.certificateFile, keyFile: first.keyFile };
    const { url, sender, server } = await openCourierDoor(t, { server: { tls, tlsInterval: PAUSE } });
    assert.match(url, /^https:/);
    await server.check();
    const served = async () => {
      const { hostname, port } = new URL(url);
      const socket = connectTls({
        host: hostname,
        port: Number(port),
        rejectUnauthorized: false,
        ALPNProtocols: ['h2'],
      });
      await once(socket, 'secureConnect');
      assert.equal(socket.alpnProtocol, 'h2');
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      return raw;
    };
    const before = await served();
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    await call.send('1', await sender.cargo([]));
    for (const [from, to] of [
      [second.certificateFile, tls.certificateFile],
      [second.keyFile, tls.keyFile],
    ] as const) {
      await copyFile(from, `${to}.new`);
      await rename(`${to}.new`, to);
    }
    while ((await served()).equals(before)) {
      await delay(PAUSE);
    }
    await call.send('2', await sender.cargo([]));
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
    assert.equal(call.acknowledged.length, 2);
  });
});

describe('The end of the CogRPC server', () => {
  test('comes when the calls under way have ended', async (t) => {
    const { url, server, sender } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const call = courier.deliverCargo();
    await call.send('1', await sender.cargo([]));
    await call.send('2', await sender.cargo([]));
    await call.acknowledgements(1);
    const stopped = server.stop(AbortSignal.timeout(10_000));
    await once(courier.session, 'goaway');
    await call.send('3', await sender.cargo([]));
    call.stream.end();
    assert.equal(await call.ended(), status.OK);
    assert.equal(call.acknowledged.length, 3);
    await stopped;
    await assert.rejects(server.check());
    const session = connectHttp2(url);
    await assert.rejects(once(session, 'connect'), { code: 'ECONNREFUSED' });
  });

  test('comes at the deadline, whatever is under way', async (t) => {
    const { url, server } = await openCourierDoor(t);
    using courier = new RawCourier(url);
    const first = courier.deliverCargo();
    first.stream.end();
    await first.ended();
    const call = courier.deliverCargo();
    await call.write(Buffer.alloc(3));
    await server.stop(AbortSignal.timeout(100));
    await call.ended();
  });
});
