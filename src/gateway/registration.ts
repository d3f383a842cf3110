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

/** What may be used once. */
interface Token {
  /** Hexadecimal. */
  readonly nonce: string;
  /** Milliseconds. */
  readonly expiry: number;
}

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
   * @returns the serialized authorization (PNRA); costs one signature with the identity key
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
   * @param mayRegister asked once the request is found to be right, before it costs signatures and durable writes; if
   *   it rejects, so does this, and the authorization stays good
   * @returns the serialized registration (PNR) and the private gateway's node id
   * @throws AwalaError REGISTRATION_*, KEY_UNSUPPORTED; GatewayError TOKEN_USED, PEER_BLOCKED, PEER_NOT_ALLOWED,
   *   REGISTRATION_CLOSED; StoreError
   */
  async register(
    request: Buffer,
    mayRegister: () => Promise<void> = async () => {},
  ): Promise<{ registration: Buffer; peer: string }> {
    const { publicKey, authorization } = readRegistrationRequest(request);
    // Only here has the client proved that the key is its own: nobody is told of another's standing.
    await this.peers?.requireRegistrable(publicKey.nodeId);
    const token = await this.identity.judge(() => this.verifyAuthorization(authorization, publicKey));
    await mayRegister();
    await this.spend(token);

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

  /** Of an authorization that is ours, in time, and for this key. */
  private verifyAuthorization(bytes: Buffer, publicKey: RsaPublicKey): Token {
    const authorization = readRegistrationAuthorization(bytes, this.identity.publicKeys(), this.clock.now());
    const digest = authorization.gatewayData.subarray(0, DIGEST_OCTETS);
    if (!digest.equals(publicKey.digest)) {
      throw new AwalaError('REGISTRATION_UNAUTHORIZED', 'Registration was authorized for another key');
    }
    const nonce = authorization.gatewayData.subarray(DIGEST_OCTETS).toString('hex');
    return { nonce, expiry: authorization.expiry };
  }

  private async spend({ nonce, expiry }: Token): Promise<void> {
    if (!(await this.records.create('single-use-tokens', nonce, {}, expiry + TOKEN_MEMORY))) {
      throw new GatewayError('TOKEN_USED', 'Registration authorization was used before');
    }
  }
}
