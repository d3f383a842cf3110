/** `relay-gateway quickstart`: from an installed package to a running gateway on a machine of its own, by systemd. */
import { Command, InvalidArgumentError } from 'commander';
import { SETTINGS, type Setting } from '../config/settings.ts';
import { domainName, ValueError } from '../config/values.ts';

const FAULT = 1;

interface QuickstartOptions {
  readonly address: string;
  readonly email?: string;
  readonly agreeTerms?: true;
  readonly set: ReadonlyMap<string, string>;
  readonly ip: readonly string[];
  readonly root: string;
  readonly dryRun?: true;
  readonly json?: true;
}

/** The command, for the program to add to its own. */
export function quickstartCommand(): Command {
  return new Command('quickstart')
    .description(
      'Set up a gateway on this machine: settings, units of systemd, DNS records, certificate; start and examine it.',
    )
    .requiredOption('--address <name>', "the gateway's Internet address, a domain name of yours", readName)
    .option('--email <address>', 'where the certificate authority writes to')
    .option('--agree-terms', "agree to the certificate authority's terms of service (letsencrypt.org/repository)")
    .option('--set <NAME=value>', 'another setting; may be repeated', addSetting, new Map<string, string>())
    .option('--ip <address>', 'a public address of this machine; may be repeated', addTo, [])
    .option('--root <folder>', 'as if this folder were the root of the file system; nothing is started', '/')
    .option('--dry-run', 'print what would be done')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      '\nIt may be run again at any time: what is done already is left as it is, and so is any file that somebody has edited.\nExit codes: 0 all is well, 1 a step failed, 2 bad usage.',
    )
    .action(async (options: QuickstartOptions) => {
      const { quickstart } = await import('./quickstart-steps.ts');
      const { printReport, QuickstartPrinter, SILENT_PRINTER } = await import('./quickstart-report.ts');
      const { address, email, agreeTerms, set, ip, root, dryRun, json } = options;
      const given = new Map([
        ...set,
        ['INTERNET_ADDRESS', address],
        ...(email ? [['ACME_EMAIL', email] as const] : []),
        ...(agreeTerms ? [['ACME_TERMS_AGREED', 'true'] as const] : []),
      ]);
      const printer = json ? SILENT_PRINTER : new QuickstartPrinter();
      const report = await quickstart({ address, given, addresses: ip, root, isDry: dryRun ?? false }, printer);
      printReport(report, json ?? false);
      if (!report.healthy) {
        process.exitCode = FAULT;
      }
    });
}

function readName(text: string): string {
  return read(domainName, text);
}

/** Checked one by one here, so that bad usage is told before anything is done. */
function addSetting(text: string, settings: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const [, variable = '', value = ''] = /^(\w+)=(.*)$/s.exec(text) ?? [];
  const setting = Object.values<Setting<unknown>>(SETTINGS).find((candidate) => candidate.variable === variable);
  if (!setting) {
    throw new InvalidArgumentError('It must be NAME=value, with the name of a setting: see docs/operate.md.');
  }
  read(setting.read, value);
  return new Map([...settings, [variable, value]]);
}

function addTo(text: string, texts: readonly string[]): string[] {
  return [...texts, text];
}

function read<Value>(reader: (text: string) => Value, text: string): Value {
  try {
    return reader(text);
  } catch (error) {
    if (!(error instanceof ValueError)) {
      throw error;
    }
    throw new InvalidArgumentError(`It ${error.message}.`);
  }
}
