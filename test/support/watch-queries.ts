/** The queries of dashboards and rules, as the chart ships them. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { projectRoot } from './gateway.ts';

export const RULES_FILE = path.join(projectRoot, 'charts/relay-gateway/rules/relay-gateway.yaml');

export interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface RulesFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

export interface PanelQuery {
  readonly panel: string;
  readonly expr: string;
}

export function readRules(): RulesFile {
  return parse(readFileSync(RULES_FILE, 'utf8')) as RulesFile;
}

export function allRules(): Rule[] {
  return readRules().groups.flatMap(({ rules }) => rules);
}

/** Every query of every panel of every dashboard. */
export function panelQueries(): PanelQuery[] {
  return globSync('charts/relay-gateway/dashboards/*.json', { cwd: projectRoot }).flatMap((file) => {
    const { panels } = JSON.parse(readFileSync(path.join(projectRoot, file), 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    return panels.flatMap(({ title, targets }) => targets.map(({ expr }) => ({ panel: title, expr })));
  });
}

/** The metrics that a query asks for. */
export function metricsOf(query: string): string[] {
  return query.match(/\b(?:relay_gateway|process|nodejs|probe)_[a-z_]*|\brelay_gateway:[a-z_]*/g) ?? [];
}
