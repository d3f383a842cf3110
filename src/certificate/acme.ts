/** An order at a certificate authority (ACME, RFC 8555), with HTTP-01 challenges. */
import * as acme from 'acme-client';
import { CertificateFault } from './certificate-fault.ts';
import type { HttpChallenge } from './http-challenge.ts';

export interface Order {
  /** Of the authority's directory. */
  readonly directoryUrl: string;
  /** Told of trouble by the authority, where it still does that. */
  readonly email: string | undefined;
  /** That a person has agreed to the authority's terms of service. */
  readonly areTermsAgreed: boolean;
  /** PEM. */
  readonly accountKey: string;
  /** PEM: of the certificate. */
  readonly key: string;
  readonly name: string;
  readonly challenge: HttpChallenge;
}

/** How long an answer may take, and a pause between two looks at an order, in milliseconds. */
const ANSWER_TIMEOUT = 30_000;
const SHORTEST_PAUSE = 1000;
const LONGEST_PAUSE = 10_000;
const LOOKS = 15;

/** Who asks again does so twice a day: there is no need to insist. */
const ATTEMPTS = 2;
const ATTEMPT_PAUSE_SECONDS = 1;

/** What is wrong by the authority's own word (RFC 8555, section 6.7). */
const PROBLEM = 'urn:ietf:params:acme:error:';

/**
 * Orders a certificate and waits for it.
 *
 * @returns PEM: the certificate and the intermediate ones
 * @throws CertificateFault
 */
export async function orderCertificate(order: Order): Promise<string> {
  const { directoryUrl, accountKey, key, name, challenge } = order;
  acme.axios.defaults.timeout = ANSWER_TIMEOUT;
  Object.assign((acme.axios.defaults as { acmeSettings?: object }).acmeSettings ?? {}, {
    retryMaxAttempts: ATTEMPTS,
    retryDefaultDelay: ATTEMPT_PAUSE_SECONDS,
  });
  const seen: Seen = { problem: undefined };
  // The client's own errors have only the text of what the authority says is wrong, not its kind.
  const listener = acme.axios.interceptors.response.use((response) => {
    seen.problem = problemOf(response.data) ?? seen.problem;
    return response;
  });
  const client = new acme.Client({
    directoryUrl,
    accountKey,
    backoffAttempts: LOOKS,
    backoffMin: SHORTEST_PAUSE,
    backoffMax: LONGEST_PAUSE,
  });
  try {
    await openAccount(client, seen, order);
    const [, request] = await acme.crypto.createCsr({ commonName: name, altNames: [name] }, key);
    return await client.auto({
      csr: request,
      challengePriority: ['http-01'],
      // Whether the answer can be had from outside is for the authority to see.
      skipChallengeVerification: true,
      async challengeCreateFn(_authorization, { type, token }, keyAuthorization) {
        if (type !== 'http-01') {
          throw new CertificateFault(
            'REFUSED',
            `The authority has no HTTP-01 challenge for ${name}`,
            'Use another authority (ACME_DIRECTORY)',
          );
        }
        challenge.answer(token, keyAuthorization);
      },
      challengeRemoveFn: async () => undefined,
    });
  } catch (error) {
    throw explain(error as Error, seen, order);
  } finally {
    acme.axios.interceptors.response.eject(listener);
  }
}

/** The kind of problem that the authority told of last. */
interface Seen {
  problem: string | undefined;
}

/** Finds the account of the key, or makes one, which needs the agreement: the client alone would send an empty update. */
async function openAccount(client: acme.Client, seen: Seen, { email, areTermsAgreed }: Order): Promise<void> {
  try {
    await client.createAccount({ onlyReturnExisting: true });
    return;
  } catch (error) {
    if (seen.problem !== `${PROBLEM}accountDoesNotExist`) {
      throw error;
    }
    seen.problem = undefined;
  }
  if (!areTermsAgreed) {
    throw new CertificateFault(
      'TERMS_NOT_AGREED',
      `The authority wants its terms of service to be agreed to: ${await client.getTermsOfServiceUrl()}`,
      'Read them, and run quickstart again with --agree-terms (or set ACME_TERMS_AGREED=true)',
    );
  }
  await client.createAccount({ termsOfServiceAgreed: true, ...(email && { contact: [`mailto:${email}`] }) });
}

/** The kind of problem in an answer: its own, or that of the challenge or order in it. */
function problemOf(data: unknown): string | undefined {
  const { type, error } = (typeof data === 'object' && data !== null ? data : {}) as {
    type?: unknown;
    error?: { type?: unknown };
  };
  return [error?.type, type].find((kind): kind is string => typeof kind === 'string' && kind.startsWith(PROBLEM));
}

function explain(error: Error, { problem }: Seen, { name, directoryUrl }: Order): Error {
  if (error instanceof CertificateFault) {
    return error;
  }
  const reason = error.message.slice(0, 1000);
  const kind = problem?.slice(PROBLEM.length);
  const options = { cause: error };
  if (!kind) {
    return new CertificateFault(
      'AUTHORITY_AWAY',
      `${directoryUrl}: ${reason}`,
      'Check that this machine reaches it, and that ACME_DIRECTORY is the URL of an ACME directory',
      options,
    );
  }
  if (kind === 'rateLimited') {
    return new CertificateFault(
      'RATE_LIMITED',
      reason,
      "Wait as long as it says; to try things out, use the authority's staging directory (ACME_DIRECTORY)",
      options,
    );
  }
  if (kind === 'connection' || kind === 'unauthorized' || kind === 'dns' || kind === 'incorrectResponse') {
    return new CertificateFault(
      'CHALLENGE_FAILED',
      reason,
      `Check that the A and AAAA records of ${name} lead to this machine, and that port 80 reaches it from everywhere`,
      options,
    );
  }
  return new CertificateFault(
    'REFUSED',
    `${reason} (${kind})`,
    kind === 'caa'
      ? `Let the CAA record of ${name} name the authority`
      : 'Do as the authority says, or use another (ACME_DIRECTORY)',
    options,
  );
}
