/** The uptime probes that we ship, run by a real blackbox exporter and a real Prometheus against the doors of a gateway. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { suite, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { needsBlackboxExporter, startBlackboxExporter } from '../support/blackbox-exporter.ts';
import { projectRoot, startGateway } from '../support/gateway.ts';
import { needsPrometheus, startPrometheus } from '../support/prometheus.ts';
import { newTlsCertificate, type TlsCertificate } from '../support/tls-certificate.ts';

/** The loopback has this name everywhere, and often an address of IPv6 too, where the gateway does not listen. */
const HOST = 'localhost';
const BY_IPV4 = { preferred_ip_protocol: 'ip4' };

interface Module {
  readonly prober: 'http' | 'grpc';
  readonly http?: object;
  readonly grpc?: object;
}

interface Job {
  readonly static_configs: readonly { readonly targets: string[]; readonly labels: { host: string } }[];
  readonly relabel_configs: readonly { target_label: string; replacement?: string }[];
}

const shipped = (file: string) => parse(readFileSync(path.join(projectRoot, 'deploy/uptime', file), 'utf8'));

function modules(): string {
  const { modules: all } = shipped('blackbox.yml') as { modules: Record<string, Module> };
  const byIpv4 = Object.entries(all).map(([name, module]) => {
    const { prober } = module;
    return [name, { ...module, [prober]: { ...module[prober], ...BY_IPV4 } }];
  });
  return stringify({ modules: Object.fromEntries(byIpv4) });
}

/** The shipped jobs, with our hosts and exporter in place of the example's, and faster. */
function jobs(hosts: Readonly<Record<string, string>>, exporter: string): Job[] {
  return (shipped('prometheus.yml') as { scrape_configs: Job[] }).scrape_configs.map((job) => ({
    ...job,
    scrape_interval: '2s',
    scrape_timeout: '2s',
    static_configs: job.static_configs.map(({ labels }) => ({ labels, targets: [hosts[labels.host] ?? ''] })),
    relabel_configs: job.relabel_configs.map((rule) =>
      rule.target_label === '__address__' ? { ...rule, replacement: exporter } : rule,
    ),
  }));
}

const startDoors = (tls?: TlsCertificate) =>
  startGateway({ environment: tls ? { TLS_CERT_FILE: tls.certificateFile, TLS_KEY_FILE: tls.keyFile } : {} });

const portOf = (url: string) => new URL(url).port;

const needs = { ...needsPrometheus(), ...needsBlackboxExporter() };

suite('Uptime probes', needs, () => {
  test('find the three public hosts up, and down when the gateway is', async () => {
    using tls = await newTlsCertificate(HOST);
    await using exporter = await startBlackboxExporter(modules(), tls.certificateFile);
    await using stack = new AsyncDisposableStack();
    const gateway = stack.use(await startDoors(tls));
    const hosts = {
      poweb: `https://${HOST}:${portOf(gateway.poweb)}`,
      pohttp: `https://${HOST}:${portOf(gateway.pohttp)}`,
      cogrpc: `${HOST}:${portOf(gateway.cogrpc)}`,
    };
    await using prometheus = await startPrometheus(jobs(hosts, exporter.address), stringify({ groups: [] }));

    const are = (value: number) => (results: readonly { value: number }[]) =>
      results.length === 3 && results.every((result) => result.value === value);
    const query = 'probe_success{job="relay-gateway-uptime"}';
    const up = await prometheus.until(query, are(1));
    assert.deepEqual(Object.fromEntries(up.map(({ metric }) => [metric['host'], metric['instance']])), hosts);
    await stack.disposeAsync();
    await prometheus.until(query, are(0));
  });

  test('find no host up that has no TLS, or a certificate of somebody else', async () => {
    using tls = await newTlsCertificate(HOST);
    using another = await newTlsCertificate(HOST);
    await using exporter = await startBlackboxExporter(modules(), tls.certificateFile);
    const isUp = async (module: string, target: string) => {
      const parameters = new URLSearchParams({ module, target });
      const text = await (await fetch(`http://${exporter.address}/probe?${parameters}`)).text();
      return /^probe_success (\d)$/m.exec(text)?.[1];
    };
    const probes = async (certificate: TlsCertificate | undefined, scheme: string) => {
      await using gateway = await startDoors(certificate);
      return [
        await isUp('relay_gateway_http', `${scheme}://${HOST}:${portOf(gateway.poweb)}`),
        await isUp('relay_gateway_http', `${scheme}://${HOST}:${portOf(gateway.pohttp)}`),
        await isUp('relay_gateway_grpc', `${HOST}:${portOf(gateway.cogrpc)}`),
      ];
    };
    assert.deepEqual(await probes(tls, 'https'), ['1', '1', '1']);
    assert.deepEqual(await probes(another, 'https'), ['0', '0', '0']);
    assert.deepEqual(await probes(undefined, 'http'), ['0', '0', '0']);
  });
});
