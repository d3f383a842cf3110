/** A gateway, however it is deployed, with an official courier at its door: what the suites about cargo share. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { credentials, loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { CogRPCClient } from '@relaycorp/cogrpc';
import { Cargo } from '@relaycorp/relaynet-core';
import type { Addresses, Deployment } from './deployment.ts';
import { projectRoot } from './gateway.ts';
import { arrayBuffer } from './octets.ts';
import { deliverOfficially, officialCourier } from './official-courier.ts';

/** How often it looks whether something has happened, in milliseconds. */
const PAUSE = 10;

export class CourierSetting implements AsyncDisposable {
  readonly gateway: Addresses & AsyncDisposable;
  readonly courier: CogRPCClient;
  /** The log of all its processes. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];

  private constructor(
    gateway: Addresses & AsyncDisposable,
    courier: CogRPCClient,
    lines: readonly Readonly<Record<string, unknown>>[],
  ) {
    this.gateway = gateway;
    this.courier = courier;
    this.lines = lines;
  }

  static async open(deployment: Pick<Deployment, 'start'>): Promise<CourierSetting> {
    const lines: Readonly<Record<string, unknown>>[] = [];
    const gateway = await deployment.start({ onLine: (line) => void lines.push(line) });
    return new CourierSetting(gateway, await officialCourier(gateway.cogrpc), lines);
  }

  /** Delivers one cargo, and resolves when the gateway has told that it opened this very one. */
  async deliverAndOpen(cargo: Buffer): Promise<void> {
    const { id } = await Cargo.deserialize(arrayBuffer(cargo));
    const opened = () => this.lines.filter((line) => line['msg'] === 'Cargo opened' && line['cargo'] === id).length;
    const before = opened();
    assert.equal(await deliverOfficially(this.courier, [cargo]), 1);
    while (opened() === before) {
      await delay(PAUSE);
    }
  }

  /** A client that the gRPC library makes from `proto/`. @param name of the package, before `.cogrpc` */
  newClient(name: string): InstanceType<ServiceClientConstructor> {
    const definition = loadPackageDefinition(loadSync(path.join(projectRoot, `proto/${name}/cogrpc.proto`)));
    const packages = definition as unknown as Record<string, { cogrpc: { CargoRelay: ServiceClientConstructor } }>;
    const Client = packages[name]?.cogrpc.CargoRelay;
    assert.ok(Client);
    return new Client(new URL(this.gateway.cogrpc).host, credentials.createInsecure());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.courier.close();
    await this.gateway[Symbol.asyncDispose]();
  }
}
