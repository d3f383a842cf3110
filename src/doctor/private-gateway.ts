/**
 * A private gateway as deployed ones behave: it speaks PoWeb (RS-016) with one Internet gateway.
 *
 * Where the specification and deployed gateways spell a path or header differently, it has the deployed spelling, which
 * every gateway that serves today's clients knows (protocol section 1).
 */
import { type ConnectionParams, readConnectionParams } from '../awala/connection-params.ts';
import type { Certificate } from '../awala/pki/certificate.ts';
import { writeNonceSignature } from '../awala/poweb/collection-handshake.ts';
import { writeParcelCountersignature } from '../awala/poweb/countersignature.ts';
import { type Registration, readRegistration } from '../awala/poweb/registration.ts';
import { writeRegistrationRequest } from '../awala/poweb/registration-request.ts';
import { type Answer, call, requireContentType, requireStatus } from './call.ts';
import { type CollectedParcel, collectParcels } from './collection.ts';
import { type NodeKey, newNodeKey } from './node-key.ts';

/** How long deployed clients wait for PoWeb, in milliseconds. */
const POWEB_LIMIT = 5000;

const AUTHORIZATION_TYPE = 'application/vnd.awala.node-registration.authorization';
const REQUEST_TYPE = 'application/vnd.awala.node-registration.request';
const REGISTRATION_TYPE = 'application/vnd.awala.node-registration.registration';
const CONNECTION_PARAMS_TYPE = 'application/vnd.etsi.tsl.der';

/** Media type of a parcel (RS-007, RS-016). */
export const PARCEL_TYPE = 'application/vnd.awala.parcel';

export class PrivateGateway {
  readonly key: NodeKey;
  private readonly url: URL;
  private readonly collection: URL;
  private readonly signal: AbortSignal;

  private constructor(key: NodeKey, url: URL, collection: URL, signal: AbortSignal) {
    this.key = key;
    this.url = url;
    this.collection = collection;
    this.signal = signal;
  }

  /**
   * Makes a private gateway with a key of its own.
   *
   * @param url of the Internet gateway's PoWeb, without `/v1`
   * @param signal ends all that the private gateway has under way
   * @param collection where parcels are collected, without `/v1`
   */
  static async create(url: URL, signal: AbortSignal, collection = url): Promise<PrivateGateway> {
    return new PrivateGateway(await newNodeKey(), url, collection, signal);
  }

  /** Asks to be allowed to register; gives the serialized authorization (PNRA). */
  async preRegister(): Promise<Buffer> {
    const answer = await this.post('v1/pre-registrations', 'text/plain', this.key.publicKey.digest.toString('hex'));
    requireStatus(answer, 200, 'Pre-registration');
    requireContentType(answer, AUTHORIZATION_TYPE, 'The registration authorization');
    return answer.body;
  }

  /** Registers; what comes back is read, not checked. */
  async register(authorization: Buffer): Promise<Registration> {
    const { publicKey, signing } = this.key;
    const request = await writeRegistrationRequest({ publicKey, authorization }, signing);
    const answer = await this.post('v1/nodes', REQUEST_TYPE, request);
    requireStatus(answer, 200, 'Registration');
    requireContentType(answer, REGISTRATION_TYPE, 'The registration');
    return readRegistration(answer.body);
  }

  /**
   * Delivers a serialized parcel, countersigned.
   *
   * @param certificate this private gateway's, from its registration
   */
  async deliver(parcel: Buffer, certificate: Certificate): Promise<void> {
    const countersignature = await writeParcelCountersignature(parcel, { key: this.key.signing, certificate });
    const answer = await this.post('v1/parcels', PARCEL_TYPE, parcel, {
      authorization: `Relaynet-Countersignature ${countersignature.toString('base64')}`,
    });
    requireStatus(answer, 202, 'The parcel');
  }

  /** Collects all that waits. */
  collect(certificate: Certificate): AsyncGenerator<CollectedParcel> {
    const url = new URL('v1/parcel-collection', this.collection);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    return collectParcels(url, {
      signNonce: (nonce) => writeNonceSignature(nonce, { key: this.key.signing, certificate }),
      limit: POWEB_LIMIT,
      signal: this.signal,
    });
  }

  private post(path: string, type: string, body: string | Buffer, headers: Record<string, string> = {}) {
    return call(new URL(path, this.url), {
      method: 'POST',
      headers: { ...headers, 'content-type': type },
      body,
      limit: POWEB_LIMIT,
      signal: this.signal,
    });
  }
}

/** Asks whether anything answers, as Android does every 5 seconds. */
export async function probe(url: URL, signal: AbortSignal): Promise<Answer> {
  const answer = await call(url, { method: 'GET', limit: POWEB_LIMIT, signal });
  requireStatus(answer, 200, 'GET /');
  return answer;
}

/** Fetches the connection parameters that an operator hands out, or builds into a client. */
export async function fetchConnectionParams(url: URL, signal: AbortSignal): Promise<ConnectionParams> {
  const location = new URL('connection-params.der', url);
  const answer = await call(location, { method: 'GET', limit: POWEB_LIMIT, signal });
  requireStatus(answer, 200, 'GET /connection-params.der');
  requireContentType(answer, CONNECTION_PARAMS_TYPE, 'The connection parameters');
  return readConnectionParams(answer.body);
}
