/** The certificate's command, against a real authority. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { type AcmeServer, NEEDS_ACME_SERVER, startAcmeServer } from '../support/acme-server.ts';
import { temporaryDirectory } from '../support/gateway.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';
import { newTlsCertificate } from '../support/tls-certificate.ts';

const DAY = 86_400_000;
const ADDRESS = 'gw.example.org';

describe('relay-gateway certificate renew', NEEDS_ACME_SERVER, () => {
  let authority: AcmeServer;

  before(async () => {
    authority = await startAcmeServer();
  });

  after(() => authority[Symbol.asyncDispose]());

  test('gets a certificate, and keeps it while more than a third of its life is left', async (t) => {
    const place = placeFor(t);

    const first = await renew(place);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /^There is a new certificate until /);
    const [certificate, ...intermediate] = chainOf(place);
    assert.ok(certificate);
    assert.ok(certificate.checkHost(ADDRESS, { subject: 'never' }));
    assert.ok(intermediate[0] && certificate.verify(intermediate[0].publicKey));

    const second = await renew(place);
    assert.match(second.stdout, /^The certificate that is there is good until /);
    assert.equal(chainOf(place)[0]?.serialNumber, certificate.serialNumber);

    const forced = await renew(place, {}, ['--force', '--json']);
    assert.equal(forced.code, 0, forced.stdout);
    assert.equal((JSON.parse(forced.stdout) as { outcome: string }).outcome, 'obtained');
    const renewed = chainOf(place)[0];
    assert.notEqual(renewed?.serialNumber, certificate.serialNumber);
    assert.ok(renewed?.publicKey.equals(certificate.publicKey));
  });

  test('renews one that has less than a third of its life left, is for another name, or for another key', async (t) => {
    using ending = await newTlsCertificate(ADDRESS, Date.now() + 0.6 * DAY);
    using lasting = await newTlsCertificate(ADDRESS, Date.now() + 0.8 * DAY);
    using other = await newTlsCertificate('other.example.org');
    const cases: [string, string, RegExp][] = [
      [lasting.certificateFile, lasting.keyFile, /^The certificate that is there/],
      [ending.certificateFile, ending.keyFile, /^There is a new certificate/],
      [other.certificateFile, other.keyFile, /^There is a new certificate/],
      [lasting.certificateFile, other.keyFile, /^There is a new certificate/],
    ];
    for (const [certificateFile, keyFile, expected] of cases) {
      const place = placeFor(t);
      writeFileSync(place.certificateFile, readFileSync(certificateFile));
      writeFileSync(place.keyFile, readFileSync(keyFile));
      const { stdout, stderr } = await renew(place);
      assert.match(stdout, expected, stderr);
    }
  });

  test("leaves no secret to others, no half-written file, and all to the folder's owner", async (t) => {
    const place = placeFor(t);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) {
      chownSync(place.folder, 12_345, 23_456);
    }

    await renew(place);

    assert.deepEqual(readdirSync(place.folder).sort(), ['account-key.pem', 'certificate.pem', 'key.pem']);
    for (const [file, mode] of [
      ['account-key.pem', 0o600],
      ['key.pem', 0o600],
      ['certificate.pem', 0o644],
    ] as const) {
      const found = statSync(path.join(place.folder, file));
      assert.equal(found.mode & 0o777, mode, file);
      const folder = statSync(place.folder);
      assert.deepEqual([found.uid, found.gid], [folder.uid, folder.gid], file);
    }
  });

  test('asks for the agreement to the terms once, for a new account', async (t) => {
    const place = placeFor(t);

    const refused = await renew(place, { ACME_TERMS_AGREED: '' });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /terms of service to be agreed to: \S+ \[TERMS_NOT_AGREED\]\nmend: Read them/);

    assert.equal((await renew(place)).code, 0);
    assert.equal((await renew(place, { ACME_TERMS_AGREED: '' }, ['--force'])).code, 0);
  });

  test('says so when the name leads nowhere, and leaves what was there', async (t) => {
    const place = placeFor(t);
    using before = await newTlsCertificate(ADDRESS, Date.now() + 0.1 * DAY);
    writeFileSync(place.certificateFile, readFileSync(before.certificateFile));
    writeFileSync(place.keyFile, readFileSync(before.keyFile));
    authority.forget('nowhere.example.org');

    const { code, stdout } = await renew(place, { INTERNET_ADDRESS: 'nowhere.example.org' }, ['--json']);

    assert.equal(code, 1);
    const report = JSON.parse(stdout) as Record<string, string>;
    assert.deepEqual([report['outcome'], report['code']], ['failed', 'CHALLENGE_FAILED'], stdout);
    assert.match(report['mend'] ?? '', /A and AAAA records of nowhere\.example\.org/);
    assert.equal(readFileSync(place.certificateFile, 'utf8'), before.certificate);
  });

  test('says so when the authority does not issue for the name', async (t) => {
    const { code, stderr } = await renew(placeFor(t), { INTERNET_ADDRESS: 'blocked-domain.example' });

    assert.equal(code, 1);
    assert.match(stderr, /\[REFUSED\]\nmend: /);
  });

  test('says so when something else listens on the port', async (t) => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    const { port } = server.address() as { port: number };

    const { code, stderr } = await renew(placeFor(t), { ACME_HTTP_PORT: `${port}` });

    assert.equal(code, 1);
    assert.match(stderr, /^Something else listens on port \d+ \[PORT_TAKEN\]\nmend: Find it with: ss -ltnp/);
  });

  function renew({ certificateFile, keyFile }: Place, environment = {}, options: string[] = []) {
    return runRelayGateway(['certificate', 'renew', ...options], {
      ...authority.environment,
      INTERNET_ADDRESS: ADDRESS,
      TLS_CERT_FILE: certificateFile,
      TLS_KEY_FILE: keyFile,
      ACME_EMAIL: 'operator@example.org',
      ACME_TERMS_AGREED: 'true',
      ...environment,
    });
  }
});

describe('Without an authority, relay-gateway certificate renew', () => {
  test('says so when none answers, or what answers does not speak ACME', async (t) => {
    const site = createServer((_request, response) => response.end('{}')).listen(0, '127.0.0.1');
    await once(site, 'listening');
    t.after(() => site.close());
    for (const port of [1, (site.address() as { port: number }).port]) {
      const place = placeFor(t);
      const { code, stderr } = await runRelayGateway(['certificate', 'renew'], {
        INTERNET_ADDRESS: ADDRESS,
        TLS_CERT_FILE: place.certificateFile,
        TLS_KEY_FILE: place.keyFile,
        ACME_DIRECTORY: `http://127.0.0.1:${port}/dir`,
        ACME_HTTP_PORT: '0',
        ACME_TERMS_AGREED: 'true',
      });
      assert.equal(code, 1);
      assert.match(stderr, /\[AUTHORITY_AWAY\]\nmend: Check that this machine reaches it/);
    }
  });

  test('says so when the folder cannot be used', async (t) => {
    const place = placeFor(t);
    rmSync(place.folder, { recursive: true });
    writeFileSync(place.folder, 'a file');
    const { code, stderr } = await runRelayGateway(['certificate', 'renew'], {
      INTERNET_ADDRESS: ADDRESS,
      TLS_CERT_FILE: place.certificateFile,
      TLS_KEY_FILE: place.keyFile,
    });
    assert.equal(code, 1);
    assert.match(stderr, /\[FILES_UNUSABLE\]/);
  });

  test('exits with 2 when it does not know where to put the certificate', async () => {
    const { code, stderr } = await runRelayGateway(['certificate', 'renew']);
    assert.equal(code, 2);
    assert.match(stderr, /TLS_CERT_FILE and TLS_KEY_FILE must be set/);
  });
});

interface Place {
  readonly folder: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

function placeFor(t: TestContext): Place {
  const directory = temporaryDirectory();
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const folder = path.join(directory, 'certificate');
  mkdirSync(folder);
  chmodSync(folder, 0o700);
  return { folder, certificateFile: path.join(folder, 'certificate.pem'), keyFile: path.join(folder, 'key.pem') };
}

function chainOf({ certificateFile }: Place): X509Certificate[] {
  const pems = readFileSync(certificateFile, 'utf8').match(
    /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g,
  );
  return (pems ?? []).map((pem) => new X509Certificate(pem));
}
