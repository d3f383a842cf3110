/** What must hold for every rendering of the chart, beyond what Kubernetes asks: safe pods that lose nothing. */
import type { Manifest } from '../support/helm.ts';

/** As far as the properties look at it. */
export interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly securityContext?: {
    readonly allowPrivilegeEscalation?: boolean;
    readonly privileged?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly runAsUser?: number;
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
  };
  readonly resources?: {
    readonly limits?: Readonly<Record<string, string>>;
    readonly requests?: Readonly<Record<string, string>>;
  };
  readonly livenessProbe?: unknown;
  readonly readinessProbe?: unknown;
  readonly startupProbe?: unknown;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly serviceAccountName?: string;
  readonly automountServiceAccountToken?: boolean;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: {
    readonly runAsNonRoot?: boolean;
    readonly runAsUser?: number;
    readonly seccompProfile?: { readonly type?: string };
  };
  readonly affinity?: unknown;
  readonly volumes?: readonly { readonly name: string; readonly hostPath?: unknown }[];
}

interface Labelled {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Pod {
  readonly owner: Manifest;
  readonly metadata: Labelled;
  readonly spec: PodSpec;
  /** Whether it serves until it is told to stop. */
  readonly isService: boolean;
}

interface PodTemplate {
  readonly metadata?: Labelled;
  readonly spec: PodSpec;
}

/** All pods that the objects bring about. */
export function podsOf(manifests: readonly Manifest[]): Pod[] {
  return manifests.flatMap((owner) => {
    const spec = owner['spec'] as { template: PodTemplate; jobTemplate: { spec: { template: PodTemplate } } };
    switch (owner.kind) {
      case 'Pod':
        return [{ owner, metadata: owner.metadata, spec: owner['spec'] as PodSpec, isService: false }];
      case 'Job':
        return [pod(owner, spec.template, false)];
      case 'CronJob':
        return [pod(owner, spec.jobTemplate.spec.template, false)];
      case 'Deployment':
      case 'StatefulSet':
        return [pod(owner, spec.template, true)];
      default:
        return [];
    }
  });
}

function pod(owner: Manifest, { metadata = {}, spec }: PodTemplate, isService: boolean): Pod {
  return { owner, metadata, spec, isService };
}

/** Whether every label that a selector asks for is there. */
export function selects(selector: Readonly<Record<string, string>> | undefined, labels: Labelled['labels']): boolean {
  return Object.entries(selector ?? {}).every(([label, value]) => labels?.[label] === value);
}

/** Variables whose values may not stand in an object. */
const SECRET_VARIABLES = ['REDIS_URL'];

/** Pods that serve and whose traffic no policy bounds, by lines for people; where the operator wants policies. */
export function openPods(manifests: readonly Manifest[]): string[] {
  const policies = manifests
    .filter(({ kind }) => kind === 'NetworkPolicy')
    .map((policy) => policy['spec'] as { podSelector: { matchLabels: Record<string, string> }; policyTypes: string[] });
  return podsOf(manifests)
    .filter(
      ({ isService, metadata }) =>
        isService &&
        !policies.some(
          ({ podSelector, policyTypes }) =>
            policyTypes.length === 2 && selects(podSelector.matchLabels, metadata.labels),
        ),
    )
    .map(({ owner }) => `${owner.kind} ${owner.metadata.name} may speak to everybody`);
}

/** What is wrong, as lines for people. */
export function propertyFaults(manifests: readonly Manifest[]): string[] {
  return [
    ...podsOf(manifests).flatMap(podFaults),
    ...manifests.filter(({ kind }) => kind === 'Deployment').flatMap((owner) => deploymentFaults(owner, manifests)),
    ...manifests.filter(({ kind }) => kind === 'Service').flatMap((service) => serviceFaults(service, manifests)),
    ...manifests.filter(({ kind }) => /Role/.test(kind)).map(({ kind }) => `${kind}: the chart gives nobody rights`),
  ];
}

function podFaults({ owner, metadata, spec, isService }: Pod): string[] {
  const where = `${owner.kind} ${owner.metadata.name}`;
  const { securityContext: security } = spec;
  const faults = [
    security?.runAsNonRoot !== true && 'may run as root',
    !(security?.runAsUser && security.runAsUser > 0) && 'has no user that is not root',
    security?.seccompProfile?.type !== 'RuntimeDefault' && 'has no seccomp profile',
    spec.automountServiceAccountToken !== false && "is given Kubernetes' credentials",
    (spec.hostNetwork || spec.hostPID || spec.hostIPC) && 'shares a namespace with its node',
    spec.volumes?.some(({ hostPath }) => hostPath) && 'mounts a folder of its node',
    isService && !metadata.annotations?.['checksum/settings'] && 'does not restart when settings change',
    isService && !spec.affinity && 'has no affinity',
  ];
  const containers = [...spec.containers, ...(spec.initContainers ?? [])];
  return [
    ...faults.filter((fault) => typeof fault === 'string').map((fault) => `${where} ${fault}`),
    ...containers.flatMap((container) =>
      containerFaults(container, spec, isService).map((fault) => `${where} ${fault}`),
    ),
  ];
}

function containerFaults(container: Container, spec: PodSpec, isService: boolean): string[] {
  const { securityContext: security, resources, env = [] } = container;
  const grace = Number.parseInt(env.find(({ name }) => name === 'GRACE_PERIOD')?.value ?? '', 10);
  const faults = [
    security?.allowPrivilegeEscalation !== false && 'may gain privileges',
    security?.privileged && 'is privileged',
    security?.runAsUser === 0 && 'runs as root',
    security?.readOnlyRootFilesystem !== true && 'can write its image',
    !security?.capabilities?.drop?.includes('ALL') && 'keeps capabilities',
    security?.capabilities?.add && 'adds capabilities',
    ...['cpu', 'memory'].flatMap((what) => [
      !resources?.limits?.[what] && `has no limit of ${what}`,
      !resources?.requests?.[what] && `requests no ${what}`,
    ]),
    env.some(({ name, value }) => SECRET_VARIABLES.includes(name) && value !== undefined) && 'has a secret in it',
    isService && !container.startupProbe && 'has no startup probe',
    isService && !container.livenessProbe && 'has no liveness probe',
    isService && !container.readinessProbe && 'has no readiness probe',
    isService && !((spec.terminationGracePeriodSeconds ?? 0) > grace) && 'is killed before its grace is over',
  ];
  return faults.filter((fault) => typeof fault === 'string');
}

function deploymentFaults(owner: Manifest, manifests: readonly Manifest[]): string[] {
  const where = `Deployment ${owner.metadata.name}`;
  const { template, strategy, replicas } = owner['spec'] as {
    template: PodTemplate;
    replicas?: number;
    strategy: { rollingUpdate: { maxUnavailable: unknown } };
  };
  const { labels } = template.metadata ?? {};
  const selectors = (kind: string) =>
    manifests
      .filter((manifest) => manifest.kind === kind)
      .map((manifest) => manifest['spec'] as { selector: { matchLabels: Record<string, string> } });
  const scaled = manifests
    .filter(({ kind }) => kind === 'HorizontalPodAutoscaler')
    .map((scaler) => {
      const { scaleTargetRef, minReplicas } = scaler['spec'] as {
        scaleTargetRef: { name: string };
        minReplicas: number;
      };
      return { name: scaleTargetRef.name, minReplicas };
    });
  const least = replicas ?? scaled.find(({ name }) => name === owner.metadata.name)?.minReplicas ?? 0;
  const faults = [
    strategy.rollingUpdate.maxUnavailable !== 0 && 'takes old pods away before new ones serve',
    selectors('PodDisruptionBudget').filter(({ selector }) => selects(selector.matchLabels, labels)).length !== 1 &&
      'has no disruption budget of its own',
    least < 1 && 'may have no pod at all',
  ];
  return faults.filter((fault) => typeof fault === 'string').map((fault) => `${where} ${fault}`);
}

function serviceFaults(service: Manifest, manifests: readonly Manifest[]): string[] {
  const where = `Service ${service.metadata.name}`;
  const { selector, ports } = service['spec'] as {
    selector: Record<string, string>;
    ports: { targetPort: number }[];
  };
  const pods = podsOf(manifests).filter(({ metadata }) => selects(selector, metadata.labels));
  if (pods.length === 0) {
    return [`${where} selects no pod`];
  }
  return pods.flatMap(({ owner, spec, isService }) => {
    const open = spec.containers.flatMap(({ ports: list = [] }) => list.map(({ containerPort }) => containerPort));
    return [
      ...(isService ? [] : [`${where} selects ${owner.kind} ${owner.metadata.name}`]),
      ...ports
        .filter(({ targetPort }) => !open.includes(targetPort))
        .map(({ targetPort }) => `${where} leads to port ${targetPort}, which ${owner.metadata.name} does not open`),
    ];
  });
}
