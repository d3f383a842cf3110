/**
 * Internet Protocol addresses: whose forwarded headers count, and which addresses are one neighbourhood for limits.
 */
import { isIP, isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';

const IPV4_BLOCK_OCTETS = 3;
const IPV6_BLOCK_OCTETS = 7;

/** How the system writes the start of an IPv6 address with an IPv4 one inside. */
const MAPPED_PREFIX = '::ffff:';

/** The bits before the IPv4 address inside an IPv6 one. */
const MAPPED_PREFIX_BITS = 96;

/**
 * Reads the CIDRs of trusted proxies; a bare address stands for itself alone.
 *
 * @returns a function that tells whether an address is in any of them
 * @throws Error that names the first text which is no CIDR
 */
export function readTrustedProxies(cidrs: readonly string[]): (address: string) => boolean {
  const ranges = cidrs.map(readCidr);
  return (text) => {
    const address = readAddress(text);
    return (
      address !== undefined &&
      ranges.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits))
    );
  };
}

/**
 * The address of the client behind the proxies that are trusted: as fastify tells it of a request, for what never
 * becomes one.
 *
 * @param address of the connection; undefined when it is gone already
 * @param forwardedFor what the `X-Forwarded-For` headers say, joined by commas
 * @returns empty when the connection is gone already
 */
export function clientAddress(
  address: string | undefined,
  forwardedFor: string | undefined,
  isTrusted: (address: string) => boolean,
): string {
  let nearest = address ?? '';
  if (!forwardedFor) {
    return nearest;
  }
  const forwarded = forwardedFor.split(',');
  for (let nearer = forwarded.pop(); nearer !== undefined && isTrusted(nearest); nearer = forwarded.pop()) {
    nearest = nearer.trim() || nearest;
  }
  return nearest;
}

/**
 * The neighbourhood that shares its limits: the /24 of an IPv4 address, the /56 of an IPv6 address. IPv4 addresses
 * inside IPv6 (`::ffff:192.0.2.1`) count as IPv4. What is no address shares the block `unknown`.
 */
export function addressBlock(text: string): string {
  // Asked for each request, and the library takes a while.
  const ipv4 = text.startsWith(MAPPED_PREFIX) ? text.slice(MAPPED_PREFIX.length) : text;
  if (isIPv4(ipv4)) {
    return `${ipv4.slice(0, ipv4.lastIndexOf('.'))}.0/24`;
  }
  const address = readAddress(text);
  if (!address) {
    return 'unknown';
  }
  const octets = address.toByteArray();
  return address.kind() === 'ipv4'
    ? `${octets.slice(0, IPV4_BLOCK_OCTETS).join('.')}.0/24`
    : `${Buffer.from(octets.slice(0, IPV6_BLOCK_OCTETS)).toString('hex')}/56`;
}

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Strict: the library alone also takes `10` or `10.1` for addresses. */
function readAddress(text: string | undefined): Address | undefined {
  // Never undefined by type, but a socket that is gone has no address.
  return text !== undefined && isIP(text) !== 0 ? ipaddr.process(text) : undefined;
}

function readCidr(text: string): [Address, number] {
  const address = readAddress(text);
  if (address) {
    return [address, address.kind() === 'ipv4' ? 32 : 128];
  }
  if (isIP(text.split('/', 1).join()) === 0 || !ipaddr.isValidCIDR(text)) {
    throw new Error(`${text} is neither a CIDR nor an address`);
  }
  const [network, bits] = ipaddr.parseCIDR(text);
  const isMapped = network instanceof ipaddr.IPv6 && network.isIPv4MappedAddress() && bits >= MAPPED_PREFIX_BITS;
  return isMapped ? [network.toIPv4Address(), bits - MAPPED_PREFIX_BITS] : [network, bits];
}
