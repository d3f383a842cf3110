/**
 * The kinds of value that a configuration variable can have: each reads a text, or says what is wrong with it.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Reads the text of a variable. */
export type ReadValue<Value> = (text: string) => Value;

/** A value that cannot be used; its message completes the sentence "VARIABLE …". */
export class ValueError extends Error {
  override readonly name = 'ValueError';
}

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** As DNS allows, with `_awala-pdc._tcp.` before it, under which gateways are found. */
const MAX_DOMAIN_NAME_OCTETS = 237;

/**
 * A domain name that clients accept as an Internet address: not localhost, an IP address, or one with a port.
 *
 * Source: protocol section 4.
 */
export function domainName(text: string): string {
  const name = text.toLowerCase();
  if (/:\d+$/.test(name)) {
    throw new ValueError(`must be a domain name without a port, not "${text}"`);
  }
  if (isIP(name) !== 0) {
    throw new ValueError(`must be a domain name, not the IP address "${text}"`);
  }
  const labels = name.split('.');
  if (labels.at(-1) === 'localhost') {
    throw new ValueError('must be a real domain name: clients refuse localhost');
  }
  const isName = labels.length > 1 && labels.every((label) => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1) ?? '');
  if (!isName || name.length > MAX_DOMAIN_NAME_OCTETS) {
    throw new ValueError(`must be a domain name such as gateway.example.com, not "${text}"`);
  }
  return name;
}

/** The host to listen on: an IP address, or a name that resolves to one. */
export function bindHost(text: string): string {
  if (isIP(text) === 0 && !text.split('.').every((label) => LABEL.test(label.toLowerCase()))) {
    throw new ValueError(`must be an IP address or a host name, not "${text}"`);
  }
  return text;
}

/** Whether only this machine reaches what listens on this host. */
export function isLoopback(host: string): boolean {
  return ipaddr.isValid(host) ? ipaddr.process(host).range() === 'loopback' : host.toLowerCase() === 'localhost';
}

/** A TCP port; 0 takes any free one. */
export function port(text: string): number {
  return integer(0, 65_535)(text);
}

export function integer(least: number, most: number): ReadValue<number> {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most)) {
      throw new ValueError(`must be a whole number from ${least} to ${most}, not "${text}"`);
    }
    return value;
  };
}

const OCTETS: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** A number of octets, such as `65536`, `64KiB`, `256MiB` or `1GiB`. */
export function octets(least: number, most: number = Number.POSITIVE_INFINITY): ReadValue<number> {
  return (text) => {
    const match = /^(\d{1,12})\s?(KiB|MiB|GiB|)$/.exec(text);
    const value = Number(match?.[1]) * (OCTETS[match?.[2] ?? ''] ?? Number.NaN);
    if (!(value >= least && value <= most)) {
      const limit = most === Number.POSITIVE_INFINITY ? '' : ` and at most ${most}`;
      throw new ValueError(`must be a size such as 64KiB or 256MiB, at least ${least} octets${limit}, not "${text}"`);
    }
    return value;
  };
}

const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * A length of time, such as `500ms`, `25s`, `10m`, `6h` or `30d`.
 *
 * @returns milliseconds
 */
export function duration(least: string, most: string): ReadValue<number> {
  return (text) => {
    const value = milliseconds(text);
    if (!(value >= milliseconds(least) && value <= milliseconds(most))) {
      throw new ValueError(`must be a time from ${least} to ${most}, such as 25s or 6h, not "${text}"`);
    }
    return value;
  };
}

function milliseconds(text: string): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  return Number(match?.[1]) * (MILLISECONDS[match?.[2] ?? ''] ?? Number.NaN);
}

export function yesOrNo(text: string): boolean {
  if (text !== 'true' && text !== 'false') {
    throw new ValueError(`must be true or false, not "${text}"`);
  }
  return text === 'true';
}

export function oneOf<const Name extends string>(names: readonly Name[]): ReadValue<Name> {
  return (text) => {
    if (!isOneOf(names, text)) {
      throw new ValueError(`must be one of ${names.join(', ')}, not "${text}"`);
    }
    return text;
  };
}

/** Values divided by commas, each once. */
export function listOf<Value>(read: ReadValue<Value>): ReadValue<readonly Value[]> {
  return (text) => {
    const texts = text.split(',').map((part) => part.trim());
    return [...new Set(texts)].filter((part) => part !== '').map(read);
  };
}

/** A range of addresses in CIDR notation, or a single address. */
export function addressRange(text: string): string {
  if (!ipaddr.isValidCIDR(text) && !ipaddr.isValid(text)) {
    throw new ValueError(`must be ranges such as 10.0.0.0/8 or fd00::/8, not "${text}"`);
  }
  return text;
}

export function httpUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') {
    throw new ValueError(`must be a URL such as https://dns.example/dns-query, not "${text}"`);
  }
  return url.href;
}

/** Headers as OpenTelemetry's variables have them: `name=value,name=value`, percent-encoded. Not repeated: they are secret. */
export function headerList(text: string): Readonly<Record<string, string>> {
  const pairs = text.split(',').filter((pair) => pair.trim() !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name, value] = /^\s*([\w-]+)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
      try {
        if (name && value) {
          return [name, decodeURIComponent(value)];
        }
      } catch {
        // It is no percent-encoding.
      }
      throw new ValueError('must be headers such as api-key=VALUE,other=VALUE, percent-encoded');
    }),
  );
}

/** Where Redis is, from its URL. */
export interface RedisPlace {
  readonly kind: 'server' | 'sentinel' | 'cluster';
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
  readonly primary: string | undefined;
}

const REDIS_URL =
  /^redis(?<tls>s?)(?:\+(?<kind>sentinel|cluster))?:\/\/(?:(?<username>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^@/]+)(?<path>(?:\/[^/]*){0,2})$/;
const DEFAULT_PORTS = { server: 6379, sentinel: 26_379, cluster: 6379 };

/**
 * A Redis server, `redis://:PASSWORD@HOST:PORT/DATABASE`; a primary that Sentinels know,
 * `redis+sentinel://HOST:PORT,HOST:PORT/PRIMARY/DATABASE`; or a cluster, `redis+cluster://HOST:PORT,HOST:PORT`. With
 * TLS: `rediss`. What is refused is not repeated, since it has a password in it.
 */
export function redisUrl(text: string): RedisPlace {
  const parts = REDIS_URL.exec(text)?.groups;
  if (!parts) {
    throw new ValueError('must be a URL such as redis://:PASSWORD@HOST:6379, redis+sentinel:// or redis+cluster://');
  }
  const kind = (parts['kind'] ?? 'server') as RedisPlace['kind'];
  const hosts = (parts['hosts'] ?? '').split(',').map((place) => readHost(place, DEFAULT_PORTS[kind]));
  const names = (parts['path'] ?? '').split('/').slice(1).filter(Boolean);
  const primary = kind === 'sentinel' ? names.shift() : undefined;
  if (kind === 'sentinel' && primary === undefined) {
    throw new ValueError('must name the primary as its Sentinels do: redis+sentinel://HOST:26379,HOST:26379/PRIMARY');
  }
  if (kind === 'server' && hosts.length > 1) {
    throw new ValueError('must be redis+sentinel:// or redis+cluster:// where it names several hosts');
  }
  const [database = '0', ...others] = names;
  if (others.length > 0 || !/^\d{1,5}$/.test(database) || (kind === 'cluster' && names.length > 0)) {
    throw new ValueError('must end with the number of a database or nothing; a cluster has one only');
  }
  return {
    kind,
    hosts,
    tls: parts['tls'] === 's',
    username: decoded(parts['username']),
    password: decoded(parts['password']),
    database: Number(database),
    primary,
  };
}

function readHost(place: string, defaultPort: number): { host: string; port: number } {
  const url = URL.parse(`tcp://${place}`);
  if (!url?.hostname || url.host !== place.toLowerCase()) {
    throw new ValueError('must name hosts as HOST:PORT, divided by commas');
  }
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? defaultPort : Number(url.port) };
}

function decoded(text: string | undefined): string | undefined {
  if (!text) {
    return undefined;
  }
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ValueError('must have its user name and password percent-encoded');
  }
}

/** Where a service is: a URL without a path. */
export function serviceUrl(text: string): string {
  const url = URL.parse(text);
  if ((url?.protocol !== 'https:' && url?.protocol !== 'http:') || url.pathname !== '/' || url.search || url.username) {
    throw new ValueError(`must be a URL such as https://service.example:8443, without a path, not "${text}"`);
  }
  return url.href;
}

/** The full name of a key ring in Cloud KMS. */
export function keyRing(text: string): string {
  if (!/^projects\/[^/\s]+\/locations\/[^/\s]+\/keyRings\/[\w-]{1,63}$/.test(text)) {
    throw new ValueError(`must be like projects/PROJECT/locations/LOCATION/keyRings/RING, not "${text}"`);
  }
  return text;
}

/** The name of a key within a key ring. */
export function keyName(text: string): string {
  if (!/^[\w-]{1,63}$/.test(text)) {
    throw new ValueError(`must be the name of a key in KMS_KEY_RING (letters, digits, _ and -), not "${text}"`);
  }
  return text;
}

/** The name of a bucket: https://cloud.google.com/storage/docs/buckets#naming */
export function bucketName(text: string): string {
  if (!/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/.test(text)) {
    throw new ValueError(`must be the name of a bucket, such as relay-messages, not "${text}"`);
  }
  return text;
}

/** The id of a project: https://cloud.google.com/resource-manager/docs/creating-managing-projects */
export function projectId(text: string): string {
  if (!/^(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$/.test(text)) {
    throw new ValueError(`must be the id of a project, such as relay-gateway-1234, not "${text}"`);
  }
  return text;
}

/** The id of a database: https://cloud.google.com/firestore/docs/manage-databases#database_id */
export function databaseId(text: string): string {
  if (text !== '(default)' && !/^[a-z][a-z0-9-]{2,61}[a-z0-9]$/.test(text)) {
    throw new ValueError(`must be (default) or the id of a database, such as relay-records, not "${text}"`);
  }
  return text;
}

/** Where a service listens, without a scheme. */
export function hostAndPort(text: string): string {
  const url = URL.parse(`tcp://${text}`);
  if (!url?.hostname || !url.port || url.host !== text.toLowerCase()) {
    throw new ValueError(`must be HOST:PORT, not "${text}"`);
  }
  return text;
}

/** The public half of a recovery key, as age writes it. What is refused is not repeated: it may be the private half. */
export function recoveryPublicKey(text: string): string {
  if (!/^age1[02-9ac-hj-np-z]{58}$/.test(text)) {
    throw new ValueError(
      'must be the public half of a recovery key, age1…, which relay-gateway recovery-key new prints',
    );
  }
  return text;
}

export function anyText(text: string): string {
  return text;
}

function isOneOf<Name extends string>(names: readonly Name[], text: string): text is Name {
  return (names as readonly string[]).includes(text);
}
