/**
 * Messages of the DNS as they go over HTTPS (RFC 8484): questions, and answers that say whether they are authenticated
 * (DNSSEC).
 */
import {
  type Answer,
  AUTHENTIC_DATA,
  type DecodedPacket,
  DNSSEC_OK,
  decode,
  encode,
  RECURSION_DESIRED,
} from 'dns-packet';

/** Media type of questions and answers. */
export const DNS_MESSAGE = 'application/dns-message';

/** Octets of a message. */
export const MOST_DNS_OCTETS = 65_535;

export type QuestionType = 'SRV' | 'A' | 'AAAA';

export interface DnsAnswer {
  /** The name of the answer's code (RFC 1035): `NOERROR`, `NXDOMAIN`, or what went wrong. */
  readonly code: string;
  /** The name is not there at all (NXDOMAIN). */
  readonly isNoName: boolean;
  /** The resolver has authenticated the whole answer. */
  readonly isAuthenticated: boolean;
  /** Of the type that was asked for; the last names of aliases may differ from the question's. */
  readonly records: readonly Answer[];
  readonly authorities: readonly Answer[];
}

/** Id 0, so that caches on the way know the same question again (RFC 8484, section 4.1). */
export function writeQuestion(name: string, type: QuestionType): Buffer {
  return encode({
    type: 'query',
    id: 0,
    flags: RECURSION_DESIRED | AUTHENTIC_DATA,
    questions: [{ type, name, class: 'IN' }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: MOST_DNS_OCTETS,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: DNSSEC_OK,
        flag_do: true,
        options: [],
      },
    ],
  });
}

/** @throws Error when it is no message, or answers another question */
export function readAnswer(octets: Buffer, name: string, type: QuestionType): DnsAnswer {
  // The package decodes more than its types tell.
  const packet = decode(octets) as DecodedPacket & { readonly rcode: string };
  const [asked] = packet.questions ?? [];
  if (packet.type !== 'response' || asked?.type !== type || asked.name.toLowerCase() !== name.toLowerCase()) {
    throw new Error('an answer to another question');
  }
  return {
    code: packet.rcode,
    isNoName: packet.rcode === 'NXDOMAIN',
    isAuthenticated: packet.flag_ad,
    records: (packet.answers ?? []).filter((record) => record.type === type),
    authorities: packet.authorities ?? [],
  };
}
