/** `relay-gateway certificate`: gets the TLS certificate from an authority (ACME), and renews it in time. */
import { Command } from 'commander';
import { CertificateFault } from '../certificate/certificate-fault.ts';
import type { CertificateKept } from '../certificate/renewal.ts';
import { ConfigError, type Environment, readConfig } from '../config.ts';

const FAULT = 1;

/** The command, for the program to add to its own. */
export function certificateCommand(environment: Environment): Command {
  const command = new Command('certificate').description(
    'See to the TLS certificate in TLS_CERT_FILE, which an authority issues (ACME).',
  );
  command
    .command('renew')
    .description('Get a certificate for INTERNET_ADDRESS, unless the one that is there has a third of its life left.')
    .option('--force', 'whatever is there')
    .option('--json', 'print JSON')
    .action(async ({ force, json }: { force?: true; json?: true }) => {
      try {
        const kept = await keepConfiguredCertificate(environment, { isForced: force ?? false });
        console.log(json ? JSON.stringify({ ...kept, notAfter: isoTime(kept) }) : describe(kept));
      } catch (error) {
        if (!(error instanceof CertificateFault)) {
          throw error;
        }
        const { code, message, mend } = error;
        if (json) {
          console.log(JSON.stringify({ outcome: 'failed', code, message, mend }));
        } else {
          console.error(`${message} [${code}]\nmend: ${mend}`);
        }
        process.exitCode = FAULT;
      }
    });
  return command;
}

/**
 * Keeps the certificate that the settings name.
 *
 * @throws ConfigError; CertificateFault
 */
export async function keepConfiguredCertificate(
  environment: Environment,
  { isForced }: { isForced: boolean },
): Promise<CertificateKept> {
  const { TLS_CERT_FILE: certificateFile, TLS_KEY_FILE: keyFile } = environment;
  if (!certificateFile || !keyFile) {
    throw new ConfigError(['TLS_CERT_FILE and TLS_KEY_FILE must be set: the certificate and its key are put there']);
  }
  // Without the two: the gateway wants them to be there, and here they may be yet to come.
  const config = readConfig({ ...environment, TLS_CERT_FILE: undefined, TLS_KEY_FILE: undefined });
  const { keepCertificate } = await import('../certificate/renewal.ts');
  return keepCertificate({
    files: { certificateFile, keyFile },
    name: config.internetAddress,
    directoryUrl: config.acmeDirectory,
    email: config.acmeEmail,
    areTermsAgreed: config.acmeTermsAgreed,
    challengeHost: config.bindHost,
    challengePort: config.acmeHttpPort,
    isForced,
    now: Date.now,
  });
}

/** In one line, for people. */
export function describe(kept: CertificateKept): string {
  const what = kept.outcome === 'kept' ? 'The certificate that is there is good' : 'There is a new certificate';
  return `${what} until ${isoTime(kept)}`;
}

function isoTime({ notAfter }: CertificateKept): string {
  return new Date(notAfter).toISOString();
}
