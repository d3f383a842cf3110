/** Configuration to objects: traces for a collector of OpenTelemetry. Loaded only where one is configured. */
import { randomUUID } from 'node:crypto';
import type { Config } from '../config.ts';
import type { Clock } from '../gateway/ports.ts';
import type { Logger } from '../log.ts';
import { OtlpExporter } from '../telemetry/otlp-exporter.ts';
import { MessageSpans } from '../telemetry/spans.ts';

export interface Tracing extends AsyncDisposable {
  readonly spans: MessageSpans;
}

/** @param endpoint base URL of the collector: spans go to `v1/traces` under it */
export function openTracing(
  endpoint: string,
  { config, logger, clock, version }: { config: Config; logger: Logger; clock: Clock; version: string },
): Tracing {
  const exporter = new OtlpExporter({
    url: new URL('v1/traces', endpoint.endsWith('/') ? endpoint : `${endpoint}/`).href,
    headers: config.otlpHeaders,
    resource: {
      'service.name': 'relay-gateway',
      'service.namespace': config.internetAddress,
      'service.version': version,
      'service.instance.id': randomUUID(),
    },
    log: logger,
  });
  return {
    spans: new MessageSpans({ clock, onSpan: (span) => exporter.add(span) }),
    [Symbol.asyncDispose]: () => exporter[Symbol.asyncDispose](),
  };
}
