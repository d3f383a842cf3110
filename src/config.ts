/**
 * The gateway's configuration: the environment, read once, checked whole, as one typed object.
 *
 * Each setting is a row of `SETTINGS`; `docs/operate.md` explains them, and a test holds the two together.
 */
import { faultsBetween } from './config/faults.ts';
import { type Config, SECRETS, SETTINGS, type Setting } from './config/settings.ts';
import { ValueError } from './config/values.ts';

export { controlSocketPath, localKinds } from './config/faults.ts';
export type { Config, ServiceName } from './config/settings.ts';

/** One setting as it came to be, for people. */
export interface EffectiveValue {
  readonly variable: string;
  /** Text as in the environment; `set` for a secret; undefined for none. */
  readonly value: string | undefined;
  readonly origin: 'environment' | 'default';
}

/** The configuration cannot be used; lists every fault. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`Configuration cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`);
    this.faults = faults;
  }
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment into the configuration. An empty variable counts as one that is not set.
 *
 * @throws ConfigError with every fault at once
 */
export function readConfig(environment: Environment): Config {
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { variable, defaultText, read }] of Object.entries<Setting<unknown>>(SETTINGS)) {
    const text = environment[variable] || defaultText;
    try {
      values[name] = text === undefined ? undefined : read(text);
    } catch (error) {
      if (!(error instanceof ValueError)) {
        throw error;
      }
      faults.push(`${variable} ${error.message}`);
    }
  }
  faults.push(...faultsBetween(values as Partial<Config>));
  if (faults.length > 0) {
    throw new ConfigError(faults);
  }
  return values as Config;
}

/** All settings with their values and where each came from; of what `readConfig` accepts. */
export function effectiveValues(environment: Environment): EffectiveValue[] {
  return Object.values<Setting<unknown>>(SETTINGS).map(({ variable, defaultText }) => {
    const given = environment[variable];
    if (!given) {
      return { variable, value: defaultText, origin: 'default' };
    }
    return { variable, value: SECRETS.has(variable) ? 'set' : given, origin: 'environment' };
  });
}
