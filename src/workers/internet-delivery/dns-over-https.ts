/**
 * Asks the DNS over HTTPS (RFC 8484), whose answers say whether they are authenticated (DNSSEC).
 *
 * Answers are kept for as long as they say, within bounds; whoever asks meanwhile shares the same question.
 */
import { lookup as lookUpOnMachine } from 'node:dns/promises';
import type { Answer } from 'dns-packet';
import { Pool } from 'undici';
import {
  DNS_MESSAGE,
  type DnsAnswer,
  MOST_DNS_OCTETS,
  type QuestionType,
  readAnswer,
  writeQuestion,
} from '../../dns/dns-message.ts';
import { DeliveryFault } from '../../gateway/delivery-fault.ts';
import type { Clock } from '../../gateway/ports.ts';
import { HOUR, MINUTE, SECOND } from '../../gateway/time.ts';
import { createDialler, type MayDial } from './dialler.ts';

const CONNECTIONS = 4;
const ANSWER_TIMEOUT = 10 * SECOND;

const MOST_ANSWERS_KEPT = 10_000;
const SHORTEST_KEPT = 5 * SECOND;
const LONGEST_KEPT = HOUR;
const LONGEST_ABSENCE_KEPT = 5 * MINUTE;

interface Kept {
  readonly answer: DnsAnswer;
  /** Milliseconds. */
  readonly until: number;
}

export class DnsOverHttps {
  private readonly url: URL;
  private readonly clock: Clock;
  private readonly pool: Pool;
  private readonly kept = new Map<string, Kept>();
  private readonly asked = new Map<string, Promise<DnsAnswer>>();

  /** @param parts.mayDial where the resolver may be */
  constructor(parts: { url: string; mayDial: MayDial; clock: Clock }) {
    this.url = new URL(parts.url);
    this.clock = parts.clock;
    const connect = createDialler(addressesOnMachine, parts.mayDial);
    this.pool = new Pool(this.url.origin, { connect, connections: CONNECTIONS });
  }

  /** @throws DeliveryFault RESOLVER_AWAY; NAME_UNRESOLVED when the DNS itself fails */
  async ask(name: string, type: QuestionType): Promise<DnsAnswer> {
    const key = keyOf(name, type);
    const kept = this.kept.get(key);
    if (kept && kept.until > this.clock.now()) {
      return kept.answer;
    }
    let asked = this.asked.get(key);
    if (!asked) {
      asked = this.fetch(name, type, key).finally(() => this.asked.delete(key));
      this.asked.set(key, asked);
    }
    return asked;
  }

  /** Asks afresh next time: what was kept led nowhere. */
  forget(name: string, type: QuestionType): void {
    this.kept.delete(keyOf(name, type));
  }

  /** Ends at once; questions under way fail. */
  async close(): Promise<void> {
    await this.pool.destroy();
  }

  private async fetch(name: string, type: QuestionType, key: string): Promise<DnsAnswer> {
    const answer = await this.exchange(name, type);
    if (answer.code !== 'NOERROR' && !answer.isNoName) {
      throw new DeliveryFault('NAME_UNRESOLVED', `The DNS has ${answer.code} for ${type} ${name}`);
    }
    this.keep(key, answer);
    return answer;
  }

  private async exchange(name: string, type: QuestionType): Promise<DnsAnswer> {
    try {
      const { statusCode, headers, body } = await this.pool.request({
        method: 'POST',
        path: `${this.url.pathname}${this.url.search}`,
        headers: { accept: DNS_MESSAGE, 'content-type': DNS_MESSAGE },
        body: writeQuestion(name, type),
        headersTimeout: ANSWER_TIMEOUT,
        bodyTimeout: ANSWER_TIMEOUT,
      });
      const octets: Buffer[] = [];
      let length = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        octets.push(chunk);
        length += chunk.length;
        if (length > MOST_DNS_OCTETS) {
          throw new Error('too long an answer');
        }
      }
      if (statusCode !== 200 || !`${headers['content-type']}`.toLowerCase().startsWith(DNS_MESSAGE)) {
        throw new Error(`status ${statusCode}, ${headers['content-type']}`);
      }
      return readAnswer(Buffer.concat(octets), name, type);
    } catch (error) {
      throw new DeliveryFault('RESOLVER_AWAY', `Resolver ${this.url.host}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** Failures and answers without records are not kept: who asked waits before it asks again. */
  private keep(key: string, answer: DnsAnswer): void {
    let time: number;
    if (answer.isNoName) {
      // RFC 2308, section 5.
      const absences = answer.authorities.map((record) =>
        record.type === 'SOA' ? Math.min(record.ttl ?? 0, record.data.minimum ?? 0) : Number.POSITIVE_INFINITY,
      );
      time = Math.min(LONGEST_ABSENCE_KEPT, ...absences.map((seconds) => seconds * SECOND));
    } else if (answer.records.length > 0) {
      time = Math.min(LONGEST_KEPT, ...answer.records.map((record) => ttlOf(record) * SECOND));
    } else {
      return;
    }
    this.kept.delete(key);
    this.kept.set(key, { answer, until: this.clock.now() + Math.max(SHORTEST_KEPT, time) });
    if (this.kept.size > MOST_ANSWERS_KEPT) {
      this.kept.delete(this.kept.keys().next().value as string);
    }
  }
}

function keyOf(name: string, type: QuestionType): string {
  return `${type} ${name.toLowerCase()}`;
}

function ttlOf(record: Answer): number {
  return ('ttl' in record && typeof record.ttl === 'number' && record.ttl) || 0;
}

/** The addresses that this machine knows a host by. */
export async function addressesOnMachine(host: string): Promise<string[]> {
  const found = await lookUpOnMachine(host, { all: true });
  return found.map(({ address }) => address);
}
