/** Where the interoperability suites run: what they need of a gateway, whatever it is made of. */

import { rmSync } from 'node:fs';
import { type Exit, type GatewayAddresses, spawnGateway, startGateway, temporaryDirectory } from './gateway.ts';
import { startTestResolver, type TestResolver } from './test-resolver.ts';
import { newTlsCertificate, type TlsCertificate } from './tls-certificate.ts';

export type Addresses = Omit<GatewayAddresses, 'ops' | 'directory'>;

export interface StartOptions {
  /** Has `poweb` and `pohttp` under TLS, for the name `localhost`. */
  readonly tls?: TlsCertificate;
  /** Where the gateway finds Internet nodes; those of `internet`. */
  readonly internet?: Internet;
  /** As in the environment. */
  readonly cargoCipher?: string;
  /** Takes the log's lines. */
  readonly onLine?: (line: Readonly<Record<string, unknown>>) => void;
}

/** The Internet as a gateway sees it. */
export interface Internet extends AsyncDisposable {
  readonly resolver: TestResolver;
  /** Of a host that the gateway trusts. */
  readonly tls: TlsCertificate;
}

/** A gateway that is ended and started again on the same stores. */
export interface Restartable extends AsyncDisposable {
  readonly poweb: string;
  end(signal: NodeJS.Signals): Promise<Exit>;
  /** Changes `poweb`. */
  start(): Promise<void>;
}

export interface Deployment {
  start(options?: StartOptions): Promise<Addresses & AsyncDisposable>;
  /** @param host name of the one host that is to be trusted */
  internet(host: string): Promise<Internet>;
  startRestartable(): Promise<Restartable>;
}

/** One process, whose stores are in its data directory. */
export const EMBEDDED: Deployment = {
  async start({ tls, internet, cargoCipher, onLine } = {}) {
    return startGateway({
      environment: {
        ...(tls && { TLS_CERT_FILE: tls.certificateFile, TLS_KEY_FILE: tls.keyFile }),
        ...(internet && { RESOLVER_URL: internet.resolver.url, ALLOW_PRIVATE_DESTINATIONS: 'true' }),
        ...(cargoCipher && { CARGO_CIPHER: cargoCipher }),
      },
      ...(onLine && { log: { write: (line: string) => onLine(JSON.parse(line)) } }),
    });
  },
  async internet(host) {
    const [tls, resolver] = await Promise.all([newTlsCertificate(host), startTestResolver()]);
    return {
      tls,
      resolver,
      async [Symbol.asyncDispose]() {
        tls[Symbol.dispose]();
        await resolver[Symbol.asyncDispose]();
      },
    };
  },
  async startRestartable() {
    const directory = temporaryDirectory();
    let gateway = await spawnGateway({ directory });
    return {
      get poweb() {
        return gateway.poweb;
      },
      end: (signal) => gateway.end(signal),
      async start() {
        gateway = await spawnGateway({ directory });
      },
      async [Symbol.asyncDispose]() {
        await gateway[Symbol.asyncDispose]();
        rmSync(directory, { recursive: true, force: true });
      },
    };
  },
};
