/**
 * Which network addresses are public. A stranger chooses where parcels go, so that anything else would let strangers
 * speak to the machine's and its operator's own services.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** IPv6 addresses that are given out for the Internet (RFC 4291, section 2.4). */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');

/** Public by their range, yet answered by the cloud that the machine runs in: Azure's metadata. */
const METADATA: readonly string[] = ['168.63.129.16'];

/**
 * Whether an address is public: neither loopback, private, link-local, shared by a carrier, multicast, reserved nor a
 * cloud's metadata, nor an IPv4 address inside an IPv6 one (mapped, NAT64, 6to4, Teredo), which could be any of these.
 */
export function isPublicAddress(text: string): boolean {
  if (isIP(text) === 0) {
    return false;
  }
  const address = ipaddr.parse(text);
  if (address.range() !== 'unicast' || METADATA.includes(text)) {
    return false;
  }
  return address instanceof ipaddr.IPv4 || address.match(GLOBAL_UNICAST);
}
