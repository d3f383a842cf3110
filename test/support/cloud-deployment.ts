/**
 * A fleet on cloud backends, as a place for the interoperability suites: it starts once, and all suites share it. Each service
 * has the rights that `relay-gateway provision` gives it, and no other.
 */
import { rmSync } from 'node:fs';
import type { Component } from '../../src/provision/environment.ts';
import { type Deployment, EMBEDDED, type Restartable } from './deployment.ts';
import { type Fleet, type Settings, startFleet } from './fleet.ts';
import { startFront } from './front.ts';
import { type SpawnedGateway, temporaryDirectory } from './gateway.ts';
import { type GuardedCloud, startGuardedCloud } from './guarded-cloud.ts';
import { type CommandOutcome, runRelayGateway } from './relay-gateway.ts';

export interface CloudDeployment extends Deployment, AsyncDisposable {
  readonly cloud: GuardedCloud;
  readonly fleet: Fleet;
  /** Runs a command as a Job does: in a component's name, and with a data directory of its own. */
  runAs(component: Component, parameters: readonly string[], environment?: Settings): Promise<CommandOutcome>;
}

/** How long a Job may take on a machine that is busy, in milliseconds. */
const JOB_LIMIT = 100_000;

/**
 * @param host the one Internet host that its workers trust
 * @param settings over those of the cloud
 */
export async function startCloudDeployment(host: string, settings: Settings = {}): Promise<CloudDeployment> {
  await using stack = new AsyncDisposableStack();
  const internet = stack.use(await EMBEDDED.internet(host));
  const cloud = stack.use(await startGuardedCloud());
  const runAs = async (component: Component, parameters: readonly string[], environment: Settings = {}) => {
    const directory = temporaryDirectory();
    try {
      return await runRelayGateway(
        parameters,
        { ...cloud.settingsOf(component), ...settings, ...environment, DATA_DIR: directory },
        JOB_LIMIT,
      );
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
  // As the Job does that runs before the first pods.
  const first = await runAs('firstCertificate', ['identity']);
  if (first.code !== 0) {
    throw new Error(`There is no first certificate: ${first.stderr}`);
  }
  const fleet = stack.use(
    await startFleet({
      cloud,
      settingsOf: (service) => ({ ...cloud.settingsOf(service as Component), ...settings }),
      environment: {
        RESOLVER_URL: internet.resolver.url,
        ALLOW_PRIVATE_DESTINATIONS: 'true',
        NODE_EXTRA_CA_CERTS: internet.tls.certificateFile,
      },
    }),
  );
  const resources = stack.move();
  return {
    cloud,
    fleet,
    runAs,
    async start({ tls, cargoCipher, onLine } = {}) {
      await using own = new AsyncDisposableStack();
      const addresses = { ...fleet.addresses };
      if (onLine) {
        own.use(fleet.listen(onLine));
      }
      if (tls) {
        const { poweb, pohttp } = fleet.addresses;
        addresses.poweb = own.use(await startFront({ requests: () => poweb, tls })).url;
        addresses.pohttp = own.use(await startFront({ requests: () => pohttp, tls })).url;
      }
      if (cargoCipher) {
        addresses.cogrpc = own.use(await fleet.spawn('cogrpc', { CARGO_CIPHER: cargoCipher })).cogrpc;
      }
      const owned = own.move();
      return { ...addresses, [Symbol.asyncDispose]: () => owned.disposeAsync() };
    },
    async internet(asked) {
      if (asked !== host) {
        throw new Error(`The fleet trusts ${host}, and not ${asked}`);
      }
      return { ...internet, async [Symbol.asyncDispose]() {} };
    },
    startRestartable: () => startRestartable(fleet),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** PoWeb and collection of the same gateway, in two processes of their own. */
async function startRestartable(fleet: Fleet): Promise<Restartable> {
  let processes: readonly SpawnedGateway[] = [];
  const start = async () => {
    processes = await Promise.all([fleet.spawn('poweb'), fleet.spawn('collection')]);
  };
  await start();
  const front = await startFront({
    requests: () => processes[0]?.poweb ?? '',
    sockets: () => processes[1]?.poweb ?? '',
  });
  return {
    poweb: front.url,
    async end(signal) {
      const [one, other] = await Promise.all(processes.map((each) => each.end(signal)));
      if (!one || one.code !== other?.code || one.signal !== other.signal) {
        throw new Error(`They ended differently: ${JSON.stringify([one, other])}`);
      }
      return one;
    },
    start,
    async [Symbol.asyncDispose]() {
      await front[Symbol.asyncDispose]();
      await Promise.all(processes.map((each) => each[Symbol.asyncDispose]()));
    },
  };
}
