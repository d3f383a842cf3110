/** What the DNS says, by a DNS-over-HTTPS resolver (RFC 8484), which validates DNSSEC as deployed clients' one does. */
import { DNS_MESSAGE, type DnsAnswer, type QuestionType, readAnswer, writeQuestion } from '../dns/dns-message.ts';
import { call, requireStatus } from './call.ts';
import { DoctorFault } from './fault.ts';

/** How long the resolver may take, in milliseconds. */
const LIMIT = 5000;

/** Asks one resolver, until the examination ends. */
export class Dns {
  private readonly resolver: URL;
  private readonly signal: AbortSignal;

  /** How far this machine's clock is ahead of the resolver's, in milliseconds; undefined until it tells its time. */
  clockDifference: number | undefined;

  /** It did not answer when it was asked last. */
  isAway = false;

  constructor(resolver: URL, signal: AbortSignal) {
    this.resolver = resolver;
    this.signal = signal;
  }

  /** @throws DoctorFault RESOLVER_AWAY; DNS_FAILED */
  async ask(name: string, type: QuestionType): Promise<DnsAnswer> {
    const answer = await this.exchange(name, type);
    if (answer.code !== 'NOERROR' && !answer.isNoName) {
      throw new DoctorFault(
        'DNS_FAILED',
        `The DNS has ${answer.code} for ${type} ${name}`,
        "Where it is SERVFAIL: renew the zone's DNSSEC signatures, and see that the DS record at the parent is of its key; else look at the zone's name servers",
      );
    }
    return answer;
  }

  /** The network addresses of a host; none where it has none. @throws DoctorFault */
  async addressesOf(host: string): Promise<string[]> {
    const asked = await Promise.all([this.ask(host, 'A'), this.ask(host, 'AAAA')]);
    return asked.flatMap(({ records }) =>
      records.flatMap((record) => (record.type === 'A' || record.type === 'AAAA' ? [record.data] : [])),
    );
  }

  private async exchange(name: string, type: QuestionType): Promise<DnsAnswer> {
    const before = Date.now();
    try {
      const said = await call(this.resolver, {
        method: 'POST',
        headers: { accept: DNS_MESSAGE, 'content-type': DNS_MESSAGE },
        body: writeQuestion(name, type),
        limit: LIMIT,
        signal: this.signal,
      });
      requireStatus(said, 200, 'The question');
      if (said.date !== undefined) {
        // The header has whole seconds: on average half of one was cut off.
        this.clockDifference = (before + Date.now()) / 2 - (said.date + 500);
      }
      const answer = readAnswer(said.body, name, type);
      this.isAway = false;
      return answer;
    } catch (error) {
      this.signal.throwIfAborted();
      this.isAway = true;
      throw new DoctorFault(
        'RESOLVER_AWAY',
        `Resolver ${this.resolver.host}: ${(error as Error).message}`,
        'Check that this machine reaches the Internet, or name another DNS-over-HTTPS resolver (--resolver; for quickstart --set RESOLVER_URL=…)',
        { cause: error },
      );
    }
  }
}
