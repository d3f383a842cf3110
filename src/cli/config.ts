/** `relay-gateway config`: the effective settings and where each came from. */
import { type Environment, effectiveValues, readConfig } from '../config.ts';
import { table } from './table.ts';

/** @throws ConfigError when the gateway would not start with them */
export function showConfig(environment: Environment, options: { json?: true }): void {
  readConfig(environment);
  const values = effectiveValues(environment);
  if (options.json) {
    console.log(
      JSON.stringify(
        values.map(({ value = null, ...rest }) => ({ ...rest, value })),
        undefined,
        2,
      ),
    );
    return;
  }
  console.log(table(values.map(({ variable, value, origin }) => [variable, value || '(none)', origin])));
}
