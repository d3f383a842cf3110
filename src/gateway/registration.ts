/**
 * Registration of private gateways (RS-000, RS-016): a single-use authorization, then a certificate and a session key.
 */
import { AwalaError } from '../awala/errors.ts';
import type { RsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import { writeRegistration } from '../awala/poweb/registration.ts';
import {
  readRegistrationAuthorization,
  writeRegistrationAuthorization,
} from '../awala/poweb/registration-authorization.ts';
import { readRegistrationRequest } from '../awala/poweb/registration-request.ts';
import { GatewayError } from './errors.ts';
import type { Identity } from './identity.ts';
import type { Peers } from './peers.ts';
import type { Clock, Random, Records } from './ports.ts';
import { certifyPrivateGateway } from './private-gateway-certificate.ts';
import type { SessionKeys } from './session-keys.ts';
import { SECOND } from './time.ts';

/** RS-000: an authorization expires in less than 10 seconds. */
const AUTHORIZATION_LIFETIME = 9 * SECOND;

/** How long a used authorization is remembered: past its end by more than any of our replicas' clocks differ. */
const TOKEN_MEMORY = 60 * SECOND;

const DIGEST_OCTETS = 32;
const NONCE_OCTETS = 16;

export class Registration {
  private readonly identity: Identity;
  private readonly sessionKeys: SessionKeys;
  private readonly records: Records;
  private readonly random: Random;
  private readonly clock: Clock;
  private readonly peers: Peers | undefined;

  /** @param parts.peers who may register; everybody where it is absent */
  constructor(parts: {
    identity: Identity;
    sessionKeys: SessionKeys;
    records: Records;
    random: Random;
    clock: Clock;
    peers?: Peers;
  }) {
    this.identity = parts.identity;
    this.sessionKeys = parts.sessionKeys;
    this.records = parts.records;
    this.random = parts.random;
    this.clock = parts.clock;
    this.peers = parts.peers;
  }

  /**
   * Authorizes the holder of a key to register within 9 seconds, once.
   *
   * @param publicKeyDigest SHA-256 of the key's SubjectPublicKeyInfo, 32 octets
   * @returns the serialized authorization (PNRA)
   */
  preRegister(publicKeyDigest: Buffer): Promise<Buffer> {
    return writeRegistrationAuthorization(
      {
        expiry: this.clock.now() + AUTHORIZATION_LIFETIME,
        gatewayData: Buffer.concat([publicKeyDigest, this.random(NONCE_OCTETS)]),
      },
      this.identity.issuingKey().signing,
    );
  }

  /**
   * Registers a private gateway; a key that is registered already gets a further certificate and keeps the earlier.
   *
   * @param request the serialized request (PNRR)
   * @returns the serialized registration (PNR) and the private gateway's node id
   * @throws AwalaError REGISTRATION_*, KEY_UNSUPPORTED; GatewayError TOKEN_USED, PEER_BLOCKED, PEER_NOT_ALLOWED,
   *   REGISTRATION_CLOSED; StoreError
   */
  async register(request: Buffer): Promise<{ registration: Buffer; peer: string }> {
    const { publicKey, authorization } = readRegistrationRequest(request);
    // Only here has the client proved that the key is its own: nobody is told of another's standing.
    await this.peers?.requireRegistrable(publicKey.nodeId);
    await this.spendAuthorization(authorization, publicKey);

    const peer = publicKey.nodeId;
    const { identity, random, clock } = this;
    const { certificate, issuer } = await certifyPrivateGateway(publicKey, { identity, random, clock });
    const [sessionKey] = await Promise.all([
      this.sessionKeys.create(peer, certificate.notAfter),
      this.records.put(
        'private-gateways',
        peer,
        { publicKey: publicKey.spki, registered: this.clock.now() },
        certificate.notAfter,
      ),
    ]);
    const registration = writeRegistration({
      nodeCertificate: certificate,
      gatewayCertificate: issuer,
      internetAddress: this.identity.internetAddress,
      sessionKey,
    });
    return { registration, peer };
  }

  private async spendAuthorization(bytes: Buffer, publicKey: RsaPublicKey): Promise<void> {
    const authorization = readRegistrationAuthorization(bytes, this.identity.publicKeys(), this.clock.now());
    const digest = authorization.gatewayData.subarray(0, DIGEST_OCTETS);
    if (!digest.equals(publicKey.digest)) {
      throw new AwalaError('REGISTRATION_UNAUTHORIZED', 'Registration was authorized for another key');
    }
    const nonce = authorization.gatewayData.subarray(DIGEST_OCTETS).toString('hex');
    const unused = await this.records.create('single-use-tokens', nonce, {}, authorization.expiry + TOKEN_MEMORY);
    if (!unused) {
      throw new GatewayError('TOKEN_USED', 'Registration authorization was used before');
    }
  }
}
