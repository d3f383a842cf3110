/**
 * From an Awala Internet address to the hosts that take its parcels, and from those to network addresses.
 */
import { isIP } from 'node:net';
import { MAX_INTERNET_ADDRESS_LENGTH } from '../../awala/internet-address.ts';
import type { DnsAnswer } from '../../dns/dns-message.ts';
import { DeliveryFault } from '../../gateway/delivery-fault.ts';
import { orderServices, type ServiceRecord } from '../../gateway/service-order.ts';
import { addressesOnMachine, type DnsOverHttps } from './dns-over-https.ts';

const SERVICE = '_awala-pdc._tcp';
const HTTPS_PORT = 443;

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;
/** Two labels or more, the last of which is not a number: in one look, as each parcel asks. */
const DOMAIN_NAME = /^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+(?!\d+$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** Hosts of one address that are considered. */
const MOST_HOSTS = 16;

export interface Host {
  readonly name: string;
  readonly port: number;
  /** Of its URLs, such as `https://pohttp.example`; undefined where the name cannot be the host of one. */
  readonly origin: string | undefined;
}

/** A service and its host, found once for all parcels that ask while the answer is remembered. */
interface Service extends ServiceRecord {
  readonly host: Host;
}

export class InternetResolver {
  private readonly dns: DnsOverHttps;
  private readonly chance: () => number;
  private readonly asksMachine: boolean;
  /** What answers say, while they are remembered: each parcel asks. */
  private readonly services = new WeakMap<DnsAnswer, readonly Service[]>();

  /**
   * @param parts.chance gives a number from 0 up to 1
   * @param parts.asksMachine tests only: hosts may have names that only this machine knows
   */
  constructor(parts: { dns: DnsOverHttps; chance: () => number; asksMachine: boolean }) {
    this.dns = parts.dns;
    this.chance = parts.chance;
    this.asksMachine = parts.asksMachine;
  }

  /**
   * The hosts at an Internet address, in the order in which they are to be tried (RS-007, RFC 2782): those of its SRV
   * records, which must be authenticated; where it has been authenticated that there are none, the address itself.
   *
   * @throws DeliveryFault ADDRESS_INVALID, RESOLVER_AWAY, NAME_UNAUTHENTICATED, NAME_UNRESOLVED
   */
  async hostsAt(internetAddress: string): Promise<Host[]> {
    if (!isDomainName(internetAddress)) {
      throw new DeliveryFault('ADDRESS_INVALID', `${internetAddress} is not a domain name`);
    }
    const answer = await this.dns.ask(`${SERVICE}.${internetAddress}`, 'SRV');
    if (!answer.isAuthenticated) {
      throw new DeliveryFault('NAME_UNAUTHENTICATED', `Nobody vouches for what the DNS says of ${internetAddress}`);
    }
    if (answer.isNoName) {
      return [hostAt(internetAddress, HTTPS_PORT)];
    }
    const services = this.services.get(answer) ?? servicesOf(answer);
    this.services.set(answer, services);
    if (services.length === 0) {
      throw new DeliveryFault('NAME_UNRESOLVED', `The DNS has no service at ${internetAddress}`);
    }
    return orderServices(services, this.chance).map(({ host }) => host);
  }

  /** Asks afresh next time: none of these hosts could be reached. */
  forget(internetAddress: string, hosts: readonly Host[]): void {
    this.dns.forget(`${SERVICE}.${internetAddress}`, 'SRV');
    for (const { name } of hosts) {
      this.dns.forget(name, 'A');
      this.dns.forget(name, 'AAAA');
    }
  }

  /**
   * The network addresses of a host. TLS says whether it is the right one, so that these need not be authenticated.
   *
   * @throws DeliveryFault RESOLVER_AWAY, NAME_UNRESOLVED
   */
  async addressesOf(host: string): Promise<string[]> {
    const answers = await Promise.allSettled([this.dns.ask(host, 'A'), this.dns.ask(host, 'AAAA')]);
    const addresses = answers.flatMap((answer) =>
      answer.status === 'fulfilled' ? networkAddresses(answer.value) : [],
    );
    if (addresses.length > 0) {
      return addresses;
    }
    // What only this machine knows is not public; and asking it can take its few threads for long.
    const others = this.asksMachine ? await addressesOnMachine(host).catch(() => []) : [];
    if (others.length > 0) {
      return others;
    }
    const failed = answers.find((answer) => answer.status === 'rejected');
    throw failed?.reason ?? new DeliveryFault('NAME_UNRESOLVED', `The DNS has no address of ${host}`);
  }
}

function isDomainName(text: string): boolean {
  return text.length <= MAX_INTERNET_ADDRESS_LENGTH && DOMAIN_NAME.test(text);
}

function hostAt(name: string, port: number): Host {
  return { name, port, origin: URL.parse(`https://${name}:${port}/`)?.origin };
}

/** A target of `.` says that there is no service (RFC 2782). */
function servicesOf({ records }: DnsAnswer): Service[] {
  return records
    .flatMap((record): ServiceRecord[] => {
      if (record.type !== 'SRV') {
        return [];
      }
      const { priority = 0, weight = 0, port, target } = record.data;
      return [{ priority, weight, port, target: target.replace(/\.$/, '') }];
    })
    .filter(({ target, port }) => port > 0 && target.split('.').every((label) => LABEL.test(label)))
    .slice(0, MOST_HOSTS)
    .map((record) => ({ ...record, host: hostAt(record.target, record.port) }));
}

function networkAddresses({ records }: DnsAnswer): string[] {
  return records.flatMap((record) =>
    (record.type === 'A' || record.type === 'AAAA') && isIP(record.data) !== 0 ? [record.data] : [],
  );
}
