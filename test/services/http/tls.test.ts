/**
 * TLS on the HTTP server: versions, and certificates that change while connections are open.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, type SecureVersion, type TLSSocket } from 'node:tls';
import { createHttpServer } from '../../../src/services/http/server.ts';
import type { TlsFiles } from '../../../src/services/http/tls-certificate.ts';
import { logLines } from '../../support/log-lines.ts';
import { selfIssued, type TestNode, testIdentity } from '../../support/pki.ts';
import { RawConnection } from '../../support/raw-http.ts';

/** How often the server under test looks at its files, in milliseconds. */
const INTERVAL = 20;

const REQUEST = 'GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n';

function pem(label: string, der: Buffer): string {
  return `-----BEGIN ${label}-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`;
}

/** Never seen half written. */
async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

async function startWithTls(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'tls-'));
  const files: TlsFiles = { certificateFile: join(directory, 'cert.pem'), keyFile: join(directory, 'key.pem') };
  const write = {
    certificate: (node: TestNode) => replaceFile(files.certificateFile, pem('CERTIFICATE', node.certificate.raw)),
    key: (node: TestNode) => replaceFile(files.keyFile, pem('PRIVATE KEY', node.privateKey)),
  };
  const first = await selfIssued(await testIdentity('internet-gateway'));
  await write.certificate(first);
  await write.key(first);
  const { log, lines } = logLines();
  const options = { name: 'test', host: '127.0.0.1', port: 0, log, tls: files, tlsInterval: INTERVAL };
  const server = await createHttpServer(options);
  const url = await server.listen();
  t.after(async () => {
    await server.stop(AbortSignal.abort());
    await rm(directory, { recursive: true });
  });
  return { server, url, files, lines, write, first };
}

async function handshake(url: string, version?: SecureVersion): Promise<TLSSocket> {
  const versions = version ? { minVersion: version, maxVersion: version } : {};
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), rejectUnauthorized: false, ...versions });
  await once(socket, 'secureConnect');
  return socket;
}

/** The certificate that a new connection gets. */
async function served(url: string): Promise<Buffer> {
  const socket = await handshake(url);
  const { raw } = socket.getPeerCertificate();
  socket.destroy();
  return raw;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    await delay(INTERVAL / 2);
  }
}

describe('TLS', () => {
  test('is spoken in versions 1.2 and 1.3, and no older one', async (t) => {
    const { server, url } = await startWithTls(t);
    assert.match(url, /^https:/);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await handshake(url, version);
      assert.equal(socket.getProtocol(), version);
      const connection = new RawConnection(socket);
      await connection.write(REQUEST);
      assert.equal((await connection.response()).status, 200);
      connection.close();
    }
    await assert.rejects(handshake(url, 'TLSv1.1'));
    await server.check();
  });

  test('takes a new certificate into use without dropping connections', async (t) => {
    const { url, write, first } = await startWithTls(t);
    const open = new RawConnection(await handshake(url));
    await open.write(REQUEST);
    assert.equal((await open.response()).status, 200);
    assert.deepEqual(await served(url), first.certificate.raw);

    const second = await selfIssued(await testIdentity('other-internet-gateway'));
    await write.certificate(second);
    await write.key(second);
    await until(async () => (await served(url)).equals(second.certificate.raw));

    await open.write(REQUEST);
    assert.equal((await open.response()).status, 200);
    open.close();
  });

  test('keeps the certificate that works while the files hold one that does not, and reports it once', async (t) => {
    const { url, lines, write, first } = await startWithTls(t);
    const warnings = () => lines.filter(({ level }) => level === 40);
    const second = await selfIssued(await testIdentity('other-internet-gateway'));
    await write.certificate(second);
    await until(() => warnings().length > 0);
    await delay(5 * INTERVAL);
    assert.equal(warnings().length, 1);
    assert.deepEqual(await served(url), first.certificate.raw);

    await write.key(second);
    await until(async () => (await served(url)).equals(second.certificate.raw));
  });

  test('keeps the certificate that works rather than take an expired one', async (t) => {
    const { url, lines, write, first } = await startWithTls(t);
    const expired = await selfIssued(await testIdentity('internet-gateway'), {
      notBefore: Date.now() - 2000_000,
      notAfter: Date.now() - 1000_000,
    });
    await write.certificate(expired);
    await until(() => lines.some(({ level }) => level === 40));
    assert.deepEqual(await served(url), first.certificate.raw);
  });

  test('does not start with a key that is not that of the certificate', async (t) => {
    const { files, write } = await startWithTls(t);
    await write.key(await selfIssued(await testIdentity('stranger')));
    const { log } = logLines();
    const started = createHttpServer({ name: 'other', host: '127.0.0.1', port: 0, log, tls: files });
    const { certificateFile, keyFile } = files;
    await assert.rejects(
      started,
      new Error(`${certificateFile} and ${keyFile} cannot be used: Key is not that of the certificate`),
    );
  });
});
