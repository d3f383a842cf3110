/**
 * Cargo as the official JavaScript libraries make it, unmodified: a private gateway's channel with its Internet gateway,
 * and a courier between them.
 */
import { randomUUID } from 'node:crypto';
import { CogRPCClient } from '@relaycorp/cogrpc';
import { Cargo, CargoMessageSet, SessionEnvelopedData, type SessionKey } from '@relaycorp/relaynet-core';
import { arrayBuffer } from './octets.ts';
import type { OfficialPrivateGateway } from './official-client.ts';

const HOUR = 3_600_000;

/** Deployed clients date cargo 90 minutes back (protocol section 2). */
const BACKDATING = 1.5 * HOUR;

const CARGO_TTL = 14 * 24 * 3600;

export interface OfficialCargoOptions {
  /** The key of ours that it is encrypted for; that of the registration by default. */
  readonly sessionKey?: SessionKey;
  readonly creationDate?: Date;
  /** Seconds. */
  readonly ttl?: number;
  /** Node id; that of the gateway that issued the certificate by default. */
  readonly recipient?: string;
}

/** Cargo by a private gateway for its Internet gateway, serialized. */
export async function officialCargo(
  { registration, identity, certificate }: OfficialPrivateGateway,
  messages: readonly Buffer[],
  options: OfficialCargoOptions = {},
): Promise<Buffer> {
  const set = new CargoMessageSet(messages.map(arrayBuffer));
  const sessionKey = options.sessionKey ?? registration.sessionKey;
  if (!sessionKey) {
    throw new Error('Registration gave no session key');
  }
  const { envelopedData } = await SessionEnvelopedData.encrypt(set.serialize(), sessionKey);
  const cargo = new Cargo(
    { id: options.recipient ?? (await registration.gatewayCertificate.calculateSubjectId()) },
    certificate,
    Buffer.from(envelopedData.serialize()),
    {
      id: randomUUID(),
      creationDate: options.creationDate ?? new Date(Date.now() - BACKDATING),
      ttl: options.ttl ?? CARGO_TTL,
    },
  );
  return Buffer.from(await cargo.serialize(identity.privateKey));
}

/** A courier at the CogRPC server with this URL, on the loopback; to be closed. */
export function officialCourier(cogrpc: string): Promise<CogRPCClient> {
  return CogRPCClient.initLocalhost(Number(new URL(cogrpc).port));
}

/** The official client gives a call 3 s, and a busy machine may need more: couriers come again then, and so do these. */
async function untilInTime<Outcome>(attempt: () => Promise<Outcome>): Promise<Outcome> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error as Error).message.includes('DEADLINE_EXCEEDED')) {
        throw error;
      }
    }
  }
}

/**
 * Delivers cargoes in one call, as they come.
 *
 * @param cargoes gone through anew by each attempt
 * @returns how many were acknowledged
 */
export function deliverOfficially(
  courier: CogRPCClient,
  cargoes: AsyncIterable<Buffer> | Iterable<Buffer>,
): Promise<number> {
  return untilInTime(() => deliverOnce(courier, cargoes));
}

/** Takes all cargo home by one CCA; what came twice, since a call was cut, is there twice. */
export async function collectOfficially(courier: CogRPCClient, cca: Buffer): Promise<Buffer[]> {
  const cargoes: Buffer[] = [];
  await untilInTime(async () => {
    for await (const cargo of courier.collectCargo(cca)) {
      cargoes.push(cargo);
    }
  });
  return cargoes;
}

async function deliverOnce(courier: CogRPCClient, cargoes: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<number> {
  async function* relays() {
    let number = 0;
    for await (const cargo of cargoes) {
      yield { localId: String(++number), cargo };
    }
  }
  let acknowledged = 0;
  for await (const _localId of courier.deliverCargo(relays())) {
    acknowledged++;
  }
  return acknowledged;
}
