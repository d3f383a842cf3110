/** Schemas, of our own, of the kinds of other projects that the chart has: as far as it uses them, each object closed. */

const text = { type: 'string', minLength: 1 };
const seconds = { type: 'integer', minimum: 1 };
const labels = { type: 'object', additionalProperties: { type: 'string' } };
const metadata = { $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' };
const selector = { $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector' };

type Schema = Readonly<Record<string, unknown>>;

/** An object with these properties and no others. */
function closed(properties: Readonly<Record<string, Schema>>, required = Object.keys(properties)): Schema {
  return { type: 'object', additionalProperties: false, required, properties };
}

function kind(apiVersion: string, name: string, spec: Schema): [key: string, schema: Schema] {
  return [
    `${apiVersion} ${name}`,
    closed({ apiVersion: { const: apiVersion }, kind: { const: name }, metadata, spec }),
  ];
}

const list = (items: Schema): Schema => ({ type: 'array', minItems: 1, items });

const parentRef = closed(
  { name: text, namespace: text, sectionName: text, port: { type: 'integer' }, group: text, kind: text },
  ['name'],
);
const backendRef = closed({ name: text, port: { type: 'integer', minimum: 1, maximum: 65_535 } });
const duration = { type: 'string', pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$' };
const path = closed({
  type: { enum: ['Exact', 'PathPrefix', 'RegularExpression'] },
  value: { type: 'string', pattern: '^/' },
});

const route = (rule: Schema) => closed({ parentRefs: list(parentRef), hostnames: list(text), rules: list(rule) });

/** By `apiVersion kind`. */
export const CUSTOM_RESOURCES: Readonly<Record<string, Schema>> = Object.fromEntries([
  kind(
    'cloud.google.com/v1',
    'BackendConfig',
    closed({
      timeoutSec: seconds,
      connectionDraining: closed({ drainingTimeoutSec: { type: 'integer', minimum: 0, maximum: 3600 } }),
      healthCheck: closed({
        type: { enum: ['HTTP', 'HTTPS', 'HTTP2'] },
        port: { type: 'integer', minimum: 1, maximum: 65_535 },
        requestPath: { type: 'string', pattern: '^/' },
        checkIntervalSec: seconds,
        timeoutSec: seconds,
        healthyThreshold: seconds,
        unhealthyThreshold: seconds,
      }),
    }),
  ),
  kind(
    'networking.gke.io/v1beta1',
    'FrontendConfig',
    closed({
      redirectToHttps: closed({
        enabled: { type: 'boolean' },
        responseCodeName: {
          enum: ['MOVED_PERMANENTLY_DEFAULT', 'FOUND', 'SEE_OTHER', 'TEMPORARY_REDIRECT', 'PERMANENT_REDIRECT'],
        },
      }),
    }),
  ),
  kind(
    'networking.gke.io/v1',
    'ManagedCertificate',
    closed({
      domains: {
        type: 'array',
        minItems: 1,
        maxItems: 100,
        uniqueItems: true,
        items: { type: 'string', maxLength: 63 },
      },
    }),
  ),
  kind(
    'gateway.networking.k8s.io/v1',
    'HTTPRoute',
    route(
      closed(
        { matches: list(closed({ path })), backendRefs: list(backendRef), timeouts: closed({ request: duration }) },
        ['backendRefs'],
      ),
    ),
  ),
  kind('gateway.networking.k8s.io/v1', 'GRPCRoute', route(closed({ backendRefs: list(backendRef) }))),
  kind(
    'monitoring.coreos.com/v1',
    'ServiceMonitor',
    closed({
      selector,
      podTargetLabels: list(text),
      endpoints: list(closed({ port: text, path: { type: 'string', pattern: '^/' }, interval: duration })),
    }),
  ),
  kind(
    'monitoring.coreos.com/v1',
    'PrometheusRule',
    closed({
      groups: list(
        closed(
          {
            name: text,
            interval: duration,
            rules: list(
              closed({ alert: text, record: text, expr: text, for: duration, labels, annotations: labels }, ['expr']),
            ),
          },
          ['name', 'rules'],
        ),
      ),
    }),
  ),
]);
