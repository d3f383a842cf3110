/**
 * Delivers parcels to Internet nodes by PoHTTP (RS-007): finds the host, posts, follows redirects, and says what the
 * answer means.
 */
import { DeliveryFault } from '../../gateway/delivery-fault.ts';
import { ConnectionPools } from './connection-pools.ts';
import { createDialler, type MayDial } from './dialler.ts';
import type { DnsOverHttps } from './dns-over-https.ts';
import { type Host, InternetResolver } from './internet-resolver.ts';
import { type Answer, post } from './post.ts';

const HEADERS = { 'content-type': 'application/vnd.awala.parcel' };

/** Clients must follow three. */
const MOST_REDIRECTS = 5;

/** Hosts of one address that are tried in one delivery. */
const MOST_HOSTS_TRIED = 3;

export class PoHttpClient implements AsyncDisposable {
  private readonly dns: DnsOverHttps;
  private readonly resolver: InternetResolver;
  private readonly pools: ConnectionPools;

  /**
   * @param parts.dns is closed with the client
   * @param parts.mayDial where hosts may be
   * @param parts.asksMachine tests only: hosts may have names that only this machine knows
   * @param parts.connections how many one host may have at once
   * @param parts.chance gives a number from 0 up to 1
   */
  constructor(parts: {
    dns: DnsOverHttps;
    mayDial: MayDial;
    asksMachine: boolean;
    connections: number;
    chance: () => number;
  }) {
    const { dns, mayDial, asksMachine, connections, chance } = parts;
    this.dns = dns;
    this.resolver = new InternetResolver({ dns, chance, asksMachine });
    const connect = createDialler((host) => this.resolver.addressesOf(host), mayDial);
    this.pools = new ConnectionPools({ connect, connections });
  }

  /**
   * Resolves when the node at the Internet address has taken the parcel.
   *
   * @throws DeliveryFault
   */
  async deliver(internetAddress: string, parcel: Buffer): Promise<void> {
    const hosts = await this.resolver.hostsAt(internetAddress);
    let answer: Answer;
    try {
      answer = await this.postToFirst(hosts.slice(0, MOST_HOSTS_TRIED), parcel);
    } catch (error) {
      this.resolver.forget(internetAddress, hosts);
      throw error;
    }
    judge(answer);
  }

  /** Cuts what is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.pools.destroy(), this.dns.close()]);
  }

  /** The next host is for when one cannot be reached, not for when it refuses (RFC 2782). */
  private async postToFirst(hosts: readonly Host[], parcel: Buffer): Promise<Answer> {
    let fault: unknown;
    for (const host of hosts) {
      try {
        return await this.postTo(host, parcel);
      } catch (error) {
        if (!(error instanceof DeliveryFault)) {
          throw error;
        }
        fault ??= error;
      }
    }
    throw fault;
  }

  /** Builds a URL only where it is redirected: most parcels are not. */
  private async postTo({ name, port, origin }: Host, parcel: Buffer): Promise<Answer> {
    if (origin === undefined) {
      throw new DeliveryFault('NAME_UNRESOLVED', `${name}:${port} cannot be the host of a URL`);
    }
    let answer = await post(this.pools.to(origin), '/', HEADERS, parcel);
    let url: URL | undefined;
    for (let redirects = 0; answer.status === 307 || answer.status === 308; redirects++) {
      url ??= new URL(origin);
      if (redirects === MOST_REDIRECTS) {
        throw new DeliveryFault('REDIRECTS_TOO_MANY', `${new URL(origin).host} redirects over and over`);
      }
      url = redirectTarget(answer, url);
      answer = await post(this.pools.to(url.origin), `${url.pathname}${url.search}`, HEADERS, parcel);
    }
    return answer;
  }
}

function redirectTarget({ location }: Answer, from: URL): URL {
  const url = location === undefined ? null : URL.parse(location, from.href);
  if (!url) {
    throw new DeliveryFault('REDIRECT_INVALID', `${from.host} redirects to nowhere`);
  }
  if (url.protocol !== 'https:') {
    throw new DeliveryFault('REDIRECT_INSECURE', `${from.host} redirects to ${url.protocol}`);
  }
  return url;
}

/** @throws DeliveryFault unless the parcel was taken */
function judge({ status }: Answer): void {
  if (status >= 200 && status < 300) {
    return;
  }
  if (status >= 500 || status === 429) {
    throw new DeliveryFault('NOT_NOW', `Status ${status}`);
  }
  if (status >= 400) {
    throw new DeliveryFault('REFUSED', `Status ${status}`);
  }
  throw new DeliveryFault('ANSWER_UNEXPECTED', `Status ${status}`);
}
