/** The DNS records that a gateway needs: its addresses, and one SRV record for each door (protocol section 8). */
import { networkInterfaces } from 'node:os';
import ipaddr from 'ipaddr.js';

const SERVICES = [
  ['_awala-gsc._tcp', 'poweb'],
  ['_awala-pdc._tcp', 'pohttp'],
  ['_awala-crc._tcp', 'cogrpc'],
] as const;

type Door = (typeof SERVICES)[number][1];

/** Seconds: long enough for caches, short enough for a move. */
const TIME_TO_LIVE = 3600;

/**
 * @param options.addresses this machine's public ones; a hint takes the place of an IPv4 address where there is none
 * @returns lines for a zone file, in columns
 */
export function dnsRecords({
  address,
  ports,
  addresses,
}: {
  address: string;
  ports: Readonly<Record<Door, number>>;
  addresses: readonly string[];
}): string[] {
  const rows = addresses.map((ip) => [`${address}.`, ip.includes(':') ? 'AAAA' : 'A', ip]);
  if (rows.length === 0) {
    rows.push([`${address}.`, 'A', '<the public IPv4 address by which this machine is reached>']);
  }
  rows.push(...srvRows(address, (door) => `${ports[door]} ${address}.`));
  return zoneLines(rows);
}

/**
 * The SRV records of a gateway whose doors have a host each, on port 443, as lines for a zone file.
 *
 * @param hosts the public host of each door
 */
export function srvRecords(address: string, hosts: Readonly<Record<Door, string>>): string[] {
  return zoneLines(srvRows(address, (door) => `443 ${hosts[door]}.`));
}

function srvRows(address: string, target: (door: Door) => string): string[][] {
  return SERVICES.map(([service, door]) => [`${service}.${address}.`, 'SRV', `0 0 ${target(door)}`]);
}

/** In columns. */
function zoneLines(rows: readonly (readonly string[])[]): string[] {
  const width = Math.max(...rows.map(([name = '']) => name.length));
  return rows.map(
    ([name = '', type = '', data]) => `${name.padEnd(width)}  ${TIME_TO_LIVE}  IN  ${type.padEnd(4)}  ${data}`,
  );
}

/** The addresses of this machine by which the Internet may reach it. */
export function publicAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((interfaces = []) =>
    interfaces.map(({ address }) => address).filter((address) => ipaddr.process(address).range() === 'unicast'),
  );
}

/** Whether this machine has IPv6 at all: then the doors listen on both. */
export function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((interfaces = []) =>
    interfaces.some(({ family }) => family === 'IPv6'),
  );
}
