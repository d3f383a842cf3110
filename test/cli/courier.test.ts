/** The courier of the command line, between official private gateways and a real gateway. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type InProcessGateway, startGateway } from '../support/gateway.ts';
import { arrayBuffer } from '../support/octets.ts';
import { OfficialChannel } from '../support/official-channel.ts';
import { newOfficialIdentity, type OfficialEndpoint, type OfficialSender } from '../support/official-client.ts';
import { runRelayGateway } from '../support/relay-gateway.ts';
import { startSlowLink } from '../support/slow-link.ts';

interface Report {
  readonly complete: boolean;
  readonly cargoes: number;
  readonly octets: number;
  readonly error: string | null;
}

describe('relay-gateway courier', () => {
  let gateway: InProcessGateway;
  let channel: OfficialChannel;
  let endpoint: OfficialEndpoint;
  let sender: OfficialSender;
  let directory: string;

  before(async () => {
    directory = mkdtempSync(path.join(tmpdir(), 'courier-'));
    gateway = await startGateway();
    channel = await OfficialChannel.register(gateway.poweb);
    endpoint = await channel.privateGateway.newEndpoint();
    sender = await endpoint.authorize(await newOfficialIdentity());
  });

  after(async () => {
    await gateway?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const parcelOf = (payload: string | Buffer) => endpoint.writeParcel(sender, Buffer.from(payload));

  const courier = async (...parameters: string[]): Promise<{ code: number; report: Report }> => {
    const { code, stdout, stderr } = await runRelayGateway(['courier', ...parameters, '--json']);
    assert.ok(stdout, stderr);
    return { code, report: JSON.parse(stdout) };
  };

  const cargoIn = (folder: string) => readdirSync(folder).filter((name) => name.endsWith('.cargo'));

  async function newCcaFile(name: string): Promise<string> {
    const file = path.join(directory, name);
    writeFileSync(file, await channel.newCca());
    return file;
  }

  /** What is in the cargo of a folder. */
  async function openAll(folder: string): Promise<Buffer[]> {
    const items = await Promise.all(cargoIn(folder).map((name) => channel.open(readFileSync(path.join(folder, name)))));
    return items.flat().map(({ bytes }) => bytes);
  }

  test('delivers the cargo of a folder, and puts aside what the gateway has', async () => {
    const folder = path.join(directory, 'outbound');
    mkdirSync(folder);
    const parcels = await Promise.all(Array.from({ length: 7 }, (_, index) => parcelOf(`delivered ${index}`)));
    for (const [index, parcel] of parcels.entries()) {
      writeFileSync(path.join(folder, `${index}.cargo`), await channel.newCargo([Buffer.from(parcel)]));
    }
    writeFileSync(path.join(folder, 'notes.txt'), 'not cargo');
    const { code, report } = await courier('deliver', folder, '--gateway', gateway.cogrpc);
    assert.equal(code, 0);
    assert.deepEqual([report.complete, report.cargoes, report.error], [true, 7, null]);
    assert.deepEqual(readdirSync(folder).sort(), ['delivered', 'notes.txt']);
    assert.equal(readdirSync(path.join(folder, 'delivered')).length, 7);
    const again = await courier('deliver', folder, '--gateway', gateway.cogrpc);
    assert.deepEqual([again.code, again.report.cargoes], [0, 0]);
  });

  test('collects all cargo into a folder, once', async () => {
    const parcel = Buffer.from(await parcelOf('collected'));
    await channel.privateGateway.deliver(arrayBuffer(parcel));
    const cca = await newCcaFile('once.cca');
    const folder = path.join(directory, 'inbound');
    const first = await courier('collect', '--cca', cca, '--out', folder, '--gateway', gateway.cogrpc);
    assert.deepEqual([first.code, first.report.complete], [0, true]);
    assert.ok((await openAll(folder)).some((item) => item.equals(parcel)));
    const again = await courier('collect', '--cca', cca, '--out', folder, '--gateway', gateway.cogrpc);
    assert.deepEqual([again.code, again.report.cargoes], [0, 0]);
    const elsewhere = path.join(directory, 'elsewhere');
    const spent = await courier('collect', '--cca', cca, '--out', elsewhere, '--gateway', gateway.cogrpc);
    assert.equal(spent.code, 1);
    assert.match(spent.report.error ?? '', /^PERMISSION_DENIED .*spent/);
  });

  test('goes on where a broken connection left it, and loses nothing', async () => {
    const parcels: Buffer[] = [];
    for (let index = 0; index < 12; index++) {
      const parcel = Buffer.from(await parcelOf(randomBytes(50_000)));
      parcels.push(parcel);
      await channel.privateGateway.deliver(arrayBuffer(parcel));
    }
    await using link = await startSlowLink(gateway.cogrpc, { breakAfter: 500_000 });
    const folder = path.join(directory, 'broken');
    const cca = await newCcaFile('broken.cca');
    const { code, report } = await courier('collect', '--cca', cca, '--out', folder, '--gateway', link.url);
    assert.equal(code, 0, report.error ?? '');
    const items = await openAll(folder);
    assert.ok(parcels.every((parcel) => items.some((item) => item.equals(parcel))));
    assert.ok(link.received > 600_000, `${link.received}`);
  });

  test('says what is wrong in one line', async () => {
    const cases: [RegExp, string[]][] = [
      [/no folder/, ['deliver', path.join(directory, 'nowhere')]],
      [/ENOENT/, ['collect', '--cca', path.join(directory, 'no.cca'), '--out', directory]],
    ];
    for (const [message, parameters] of cases) {
      const { code, stderr } = await runRelayGateway(['courier', ...parameters]);
      assert.equal(code, 1);
      assert.match(stderr, message);
      assert.equal(stderr.trimEnd().split('\n').length, 1);
    }
    const rubbish = path.join(directory, 'rubbish.cca');
    writeFileSync(rubbish, 'rubbish');
    const refused = await runRelayGateway([
      'courier',
      'collect',
      '--cca',
      rubbish,
      '--out',
      directory,
      '--gateway',
      gateway.cogrpc,
    ]);
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /UNAUTHENTICATED/);
    assert.equal((await runRelayGateway(['courier', 'collect'])).code, 2);
  });
});
