/**
 * A private gateway as the official JavaScript library runs it, with its key stores in memory and its channel to the
 * Internet gateway: it makes CCAs and cargo, and opens cargo.
 */
import {
  Cargo,
  CargoMessageSet,
  type CargoMessageSetItem,
  MockKeyStoreSet,
  type PrivateGateway,
  PrivateGatewayManager,
  type PrivateInternetGatewayChannel,
} from '@relaycorp/relaynet-core';
import { readCertificate } from '../../src/awala/pki/certificate.ts';
import { arrayBuffer } from './octets.ts';
import { OfficialPrivateGateway } from './official-client.ts';
import { readCargoStrictly } from './strict-cargo.ts';

/** An item of cargo, as the library reads it, and as it came. */
export interface OfficialItem {
  /** Undefined where the library cannot read it, and its users go on with the next. */
  readonly item: CargoMessageSetItem | undefined;
  readonly bytes: Buffer;
}

export class OfficialChannel {
  /** The same private gateway, by PoWeb. */
  readonly privateGateway: OfficialPrivateGateway;
  readonly channel: PrivateInternetGatewayChannel;
  private readonly node: PrivateGateway;
  private readonly stores: MockKeyStoreSet;

  private constructor(
    privateGateway: OfficialPrivateGateway,
    node: PrivateGateway,
    channel: PrivateInternetGatewayChannel,
    stores: MockKeyStoreSet,
  ) {
    this.privateGateway = privateGateway;
    this.node = node;
    this.channel = channel;
    this.stores = stores;
  }

  /** Registers with the gateway whose PoWeb has this URL. */
  static async register(poweb: string): Promise<OfficialChannel> {
    return OfficialChannel.of(await OfficialPrivateGateway.register(poweb));
  }

  /** The channel of a private gateway that is registered; keeps what a daemon keeps. */
  static async of(privateGateway: OfficialPrivateGateway): Promise<OfficialChannel> {
    const { identity, registration } = privateGateway;
    const { privateNodeCertificate, gatewayCertificate, sessionKey, internetGatewayInternetAddress } = registration;
    if (!sessionKey) {
      throw new Error('Registration brought no session key');
    }
    const stores = new MockKeyStoreSet();
    await stores.privateKeyStore.saveIdentityKey(identity.id, identity.privateKey);
    const node = (await new PrivateGatewayManager(stores).get(identity.id)) as PrivateGateway;
    await node.saveInternetGatewayChannel(privateNodeCertificate, gatewayCertificate, sessionKey);
    const gatewayId = await gatewayCertificate.calculateSubjectId();
    const channel = await node.getChannel(gatewayId, internetGatewayInternetAddress);
    return new OfficialChannel(privateGateway, node, channel as PrivateInternetGatewayChannel, stores);
  }

  /** A serialized CCA, good for one collection. */
  async newCca(): Promise<Buffer> {
    return Buffer.from(await this.channel.generateCCA());
  }

  /** Cargo with these messages for the Internet gateway. */
  async newCargo(messages: readonly Buffer[]): Promise<Buffer> {
    const expiryDate = new Date(Date.now() + 3_600_000);
    async function* stream() {
      for (const message of messages) {
        yield { message, expiryDate };
      }
    }
    const [cargo] = await Array.fromAsync(this.channel.generateCargoes(stream()));
    return cargo as Buffer;
  }

  /**
   * Opens cargo by the library: validates it, decrypts it and reads each item; and by the reader that is as strict as
   * the other stack.
   */
  async open(bytes: Buffer): Promise<OfficialItem[]> {
    const cargo = await Cargo.deserialize(arrayBuffer(bytes));
    await this.node.validateMessage(cargo, await this.channel.getCDAIssuers());
    this.openStrictly(bytes, Buffer.from(cargo.senderCertificate.serialize()));
    const { messages } = await this.node.unwrapMessagePayload<CargoMessageSet>(cargo);
    return Promise.all(
      messages.map(async (message) => ({
        item: await CargoMessageSet.deserializeItem(message).catch(() => undefined),
        bytes: Buffer.from(message),
      })),
    );
  }

  private openStrictly(cargo: Buffer, authorization: Buffer): void {
    readCargoStrictly(cargo, {
      certificate: readCertificate(Buffer.from(this.privateGateway.certificate.serialize())),
      authorization: readCertificate(authorization),
      now: Date.now(),
      sessionKey: (keyId) => this.stores.privateKeyStore.sessionKeys[keyId.toString('hex')]?.keySerialized,
    });
  }
}
