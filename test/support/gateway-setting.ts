/**
 * A whole gateway as operators run it, with all who use it: two official private gateways, one of which collects all the
 * time, an official courier, and a node on the Internet. Official clients wait for 5 s at most for an answer of PoWeb, and couriers
 * for 3 s (protocol sections 4 and 9): whoever waits longer fails.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { CogRPCClient } from '@relaycorp/cogrpc';
import { Parcel, type ParcelCollection, StreamingMode } from '@relaycorp/relaynet-core';
import { type SpawnedGateway, spawnGateway } from './gateway.ts';
import { type InternetNode, NODE_ADDRESS, startInternetNode } from './internet-node.ts';
import {
  newOfficialIdentity,
  type OfficialEndpoint,
  OfficialPrivateGateway,
  type OfficialSender,
} from './official-client.ts';
import { deliverOfficially, officialCargo, officialCourier } from './official-courier.ts';

const POLL = 20;

interface Users {
  readonly gateway: SpawnedGateway;
  readonly node: InternetNode;
  readonly courier: CogRPCClient;
  readonly sending: OfficialPrivateGateway;
  /** An endpoint of the one that sends. */
  readonly author: OfficialEndpoint;
  /** An endpoint of the one that collects. */
  readonly endpoint: OfficialEndpoint;
  /** The author, authorized by that endpoint. */
  readonly sender: OfficialSender;
  readonly live: AsyncGenerator<ParcelCollection>;
}

export class GatewaySetting implements AsyncDisposable {
  readonly gateway: SpawnedGateway;
  private readonly users: Users;
  private readonly resources: AsyncDisposableStack;

  private constructor(users: Users, resources: AsyncDisposableStack) {
    this.gateway = users.gateway;
    this.users = users;
    this.resources = resources;
  }

  /** @param environment settings beside where the Internet is */
  static async open(environment: Readonly<Record<string, string>>): Promise<GatewaySetting> {
    await using stack = new AsyncDisposableStack();
    const node = stack.use(await startInternetNode());
    const gateway = stack.use(await spawnGateway({ environment: { ...node.environment, ...environment } }));
    const courier = stack.adopt(await officialCourier(gateway.cogrpc), (each) => each.close());
    const sending = await OfficialPrivateGateway.register(gateway.poweb);
    const author = await sending.newEndpoint();
    const receiving = await OfficialPrivateGateway.register(gateway.poweb);
    const endpoint = await receiving.newEndpoint();
    const sender = await endpoint.authorize(author.identity);
    const connected = Promise.withResolvers<void>();
    const live = receiving.collect(StreamingMode.KEEP_ALIVE, connected.resolve);
    stack.defer(async () => void (await live.return(undefined)));
    const users: Users = { gateway, node, courier, sending, author, endpoint, sender, live };
    const setting = new GatewaySetting(users, stack.move());
    const first = live.next();
    await connected.promise;
    const parcel = await setting.deliver();
    assert.deepEqual(await acknowledged(first), parcel);
    return setting;
  }

  /** Delivers a parcel to the endpoint, and gives it. */
  async deliver(): Promise<Buffer> {
    const parcel = await this.users.endpoint.writeParcel(this.users.sender, randomBytes(500));
    await this.users.sending.deliver(parcel);
    return Buffer.from(parcel);
  }

  /** Delivers a parcel for the node on the Internet, and gives it. */
  async deliverToInternet(): Promise<Buffer> {
    const { id } = await newOfficialIdentity();
    const { certificate, identity } = this.users.author;
    const parcel = new Parcel({ id, internetAddress: NODE_ADDRESS }, certificate, randomBytes(500), { ttl: 86_400 });
    const octets = await parcel.serialize(identity.privateKey);
    await this.users.sending.deliver(octets);
    return Buffer.from(octets);
  }

  /** Has the courier deliver a parcel to the endpoint in cargo, and gives the parcel. */
  async deliverByCourier(): Promise<Buffer> {
    const parcel = Buffer.from(await this.users.endpoint.writeParcel(this.users.sender, randomBytes(500)));
    const cargo = await officialCargo(this.users.sending, [parcel]);
    assert.equal(await deliverOfficially(this.users.courier, [cargo]), 1);
    return parcel;
  }

  /** Resolves when this parcel was collected. What could not be noted as collected or as sent may come once more before. */
  async collectionOf(parcel: Buffer): Promise<void> {
    while (!(await acknowledged(this.users.live.next())).equals(parcel)) {}
  }

  /** Resolves when this parcel has come to the node on the Internet. */
  arrivalOf(parcel: Buffer): Promise<void> {
    return this.users.node.arrivalOf(parcel);
  }

  /** Registers one more private gateway. */
  async register(): Promise<void> {
    await OfficialPrivateGateway.register(this.gateway.poweb);
  }

  /** The status of `/ping`, and whether one of its checks passes. */
  async ping(check: string): Promise<{ status: number; ok: boolean | undefined }> {
    const response = await fetch(`${this.gateway.ops}/ping`);
    const checks = (await response.json()) as { name: string; ok: boolean }[];
    return { status: response.status, ok: checks.find(({ name }) => name === check)?.ok };
  }

  /** Resolves when all checks pass. */
  async recovered(): Promise<void> {
    while ((await this.ping('stores')).status !== 200) {
      await pause(POLL);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.resources.disposeAsync();
  }
}

async function acknowledged(next: Promise<IteratorResult<ParcelCollection>>): Promise<Buffer> {
  const { value, done } = await next;
  assert.equal(done, false, 'the collection ended');
  await value.ack();
  return Buffer.from(value.parcelSerialized);
}
