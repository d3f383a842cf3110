import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import type { DeliveryFault } from '../../src/gateway/delivery-fault.ts';
import { dialRule, type MayDial } from '../../src/workers/internet-delivery/dialler.ts';
import { DnsOverHttps } from '../../src/workers/internet-delivery/dns-over-https.ts';
import { PoHttpClient } from '../../src/workers/internet-delivery/pohttp-client.ts';
import { isPublicAddress } from '../../src/workers/internet-delivery/public-address.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { startPoHttpReceiver } from '../support/pohttp-receiver.ts';
import { startTestResolver } from '../support/test-resolver.ts';
import { newTlsCertificate, type TlsCertificate } from '../support/tls-certificate.ts';

const PARCEL = Buffer.from('parcel');
const METADATA = '169.254.169.254';

describe('Network addresses', () => {
  for (const address of ['1.1.1.1', '93.184.216.34', '172.15.0.1', '100.63.0.1', '2606:4700::1111', '2a00:1450::1']) {
    test(`such as ${address} are public`, () => assert.equal(isPublicAddress(address), true));
  }

  for (const address of [
    ...['0.0.0.0', '0.1.2.3', '10.0.0.1', '100.64.0.1', '100.100.100.200', '127.0.0.1', '127.255.255.254'],
    ...[METADATA, '172.16.0.1', '172.31.255.255', '192.0.0.192', '192.0.2.1', '192.168.1.1', '198.18.0.1'],
    ...['224.0.0.1', '240.0.0.1', '255.255.255.255', '168.63.129.16'],
    ...['::', '::1', '::7f00:1', '::127.0.0.1', '::ffff:127.0.0.1', '::ffff:8.8.8.8', '::ffff:0:127.0.0.1'],
    ...['64:ff9b::7f00:1', '64:ff9b::8.8.8.8', '64:ff9b:1::a9fe:a9fe', '2002:7f00:1::', '2001:0:1::1', '100::1'],
    ...['fe80::1', 'fec0::1', 'fc00::1', 'fd00:ec2::254', 'ff02::1', '2001:db8::1', '3fff::1', '4000::1'],
    ...['', 'localhost', '1', '127.1', '0x7f.0.0.1', '2130706433', '1.1.1.1.', 'fe80::1%eth0'],
  ]) {
    test(`such as "${address}" are not`, () => assert.equal(isPublicAddress(address), false));
  }

  test('of IPv4 are not public in any form inside IPv6', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const [high, low] = ipaddr.IPv4.parse(address)
          .toIPv4MappedAddress()
          .parts.slice(6)
          .map((part) => part.toString(16));
        for (const form of [
          `::ffff:${address}`,
          `::${address}`,
          `64:ff9b::${address}`,
          `64:ff9b:1::${address}`,
          `2002:${high}:${low}::1`,
          `::ffff:0:${high}:${low}`,
        ]) {
          assert.equal(isPublicAddress(form), false, form);
        }
      }),
    );
  });
});

describe('Destinations', () => {
  let tls: TlsCertificate;
  let defaultAuthorities: string[];

  before(async () => {
    tls = await newTlsCertificate('*.hosts.example');
    defaultAuthorities = getCACertificates('default');
    setDefaultCACertificates([...defaultAuthorities, tls.certificate]);
  });

  after(() => {
    setDefaultCACertificates(defaultAuthorities);
    tls[Symbol.dispose]();
  });

  /** A client whose resolver is on the loopback, and a receiver that redirects to `location` where there is one. */
  async function openRoom(mayDial: MayDial = dialRule(false), location?: string) {
    await using stack = new AsyncDisposableStack();
    const clock = new ManualClock(Date.now());
    const resolver = stack.use(await startTestResolver());
    const receiver = stack.use(
      await startPoHttpReceiver(tls, ({ path }) =>
        location !== undefined && path === '/' ? { status: 307, headers: { location } } : { status: 202 },
      ),
    );
    resolver.setServices('a.example', [{ target: 'a.hosts.example', port: receiver.port }]);
    const dns = new DnsOverHttps({ url: resolver.url, mayDial: () => true, clock });
    const client = stack.use(new PoHttpClient({ dns, mayDial, asksMachine: false, connections: 2, chance: () => 0 }));
    const resources = stack.move();
    return { client, resolver, receiver, clock, [Symbol.asyncDispose]: () => resources.disposeAsync() };
  }

  const isForbidden = (error: DeliveryFault) => {
    assert.equal(error.code, 'DESTINATION_FORBIDDEN', error.message);
    assert.equal(error.isFinal, false);
    return true;
  };

  /** The loopback address that stands for the Internet. */
  const onlyReceiver: MayDial = (address) => address === '127.0.0.1';

  for (const addresses of [['127.0.0.1'], [METADATA], ['10.0.0.1', '::1'], ['::ffff:127.0.0.1'], ['64:ff9b::7f00:1']]) {
    test(`whose service is at ${addresses} are refused`, async () => {
      await using room = await openRoom();
      room.resolver.setAddresses('a.hosts.example', addresses);
      await assert.rejects(room.client.deliver('a.example', PARCEL), isForbidden);
      assert.equal(room.receiver.connections, 0);
    });
  }

  test('without a service record that are on the loopback themselves are refused', async () => {
    await using room = await openRoom();
    room.resolver.setAddresses('alone.hosts.example', ['127.0.0.1']);
    await assert.rejects(room.client.deliver('alone.hosts.example', PARCEL), isForbidden);
  });

  for (const location of [
    'https://127.0.0.2/',
    'https://[::1]/',
    'https://[::ffff:169.254.169.254]/',
    `https://${METADATA}/latest/meta-data`,
    'https://2130706434/',
    'https://0x7f.2/',
    'https://metadata.hosts.example/',
  ]) {
    test(`that redirect to ${location} are refused`, async () => {
      await using room = await openRoom(onlyReceiver, location);
      room.resolver.setAddresses('a.hosts.example', ['127.0.0.1']);
      room.resolver.setAddresses('metadata.hosts.example', [METADATA]);
      await assert.rejects(room.client.deliver('a.example', PARCEL), isForbidden);
      assert.equal(room.receiver.posts.length, 1);
    });
  }

  test('that have public addresses besides others are dialled there only', async () => {
    await using room = await openRoom(onlyReceiver);
    room.resolver.setAddresses('a.hosts.example', ['127.0.0.3', '127.0.0.1', '::1']);
    await room.client.deliver('a.example', PARCEL);
    assert.equal(room.receiver.posts.length, 1);
  });

  test('that change their address after they were found are checked where they are dialled', async () => {
    await using room = await openRoom(onlyReceiver);
    room.resolver.setAddresses('a.hosts.example', ['127.0.0.1']);
    await room.client.deliver('a.example', PARCEL);
    room.resolver.setAddresses('a.hosts.example', ['127.0.0.4']);
    room.clock.advance(61_000);
    room.receiver.drop();
    // The client may find its connection closed first, and then opens another.
    const code = () => room.client.deliver('a.example', PARCEL).catch((error: DeliveryFault) => error.code);
    assert.ok([await code(), await code()].includes('DESTINATION_FORBIDDEN'));
    assert.equal(room.receiver.posts.length, 1);
  });

  test('may be asked for only where the resolver itself may be', async () => {
    const clock = new ManualClock(Date.now());
    await using resolver = await startTestResolver();
    const dns = new DnsOverHttps({ url: resolver.url, mayDial: dialRule(false), clock });
    await using client = new PoHttpClient({
      dns,
      mayDial: dialRule(false),
      asksMachine: false,
      connections: 2,
      chance: () => 0,
    });
    await assert.rejects(client.deliver('a.example', PARCEL), { code: 'RESOLVER_AWAY' });
    assert.deepEqual(resolver.questions, []);
  });
});
