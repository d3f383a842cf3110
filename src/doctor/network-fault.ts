/**
 * Why a connection failed, in an operator's words.
 */
import { DoctorFault } from './fault.ts';

/** Codes of Node and OpenSSL by what they mean to an operator. */
const CODES: readonly [RegExp, (error: Error, url: URL) => DoctorFault][] = [
  [
    /^ECONNREFUSED$/,
    (error, url) =>
      new DoctorFault(
        'UNREACHABLE',
        `Nothing listens on ${url.host} (connection refused)`,
        'Start the gateway, and check the port (POWEB_PORT is 8080 by default, POHTTP_PORT 8081) and the address that it listens on (BIND_HOST)',
        { cause: error },
      ),
  ],
  [
    /^(ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|EADDRNOTAVAIL)$/,
    (error, url) =>
      new DoctorFault(
        'UNREACHABLE',
        `No connection to ${url.host}: ${error.message}`,
        'Check the host and port, and that no firewall stands between here and the gateway',
        { cause: error },
      ),
  ],
  [
    /^(ENOTFOUND|EAI_[A-Z]+)$/,
    (error, url) =>
      new DoctorFault(
        'NAME_UNKNOWN',
        `The name ${url.hostname} has no address`,
        'Check the spelling of the host, and its DNS records',
        { cause: error },
      ),
  ],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    (error, url) =>
      new DoctorFault(
        'TLS_NAME_WRONG',
        `The TLS certificate is not for ${url.hostname}`,
        `Use a certificate that names ${url.hostname} (TLS_CERT_FILE), or the host that it does name`,
        { cause: error },
      ),
  ],
  [
    /^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/,
    (error) =>
      new DoctorFault(
        'TLS_UNTRUSTED',
        `The TLS certificate is not valid now: ${error.message}`,
        'Renew the certificate in TLS_CERT_FILE, and check the clocks here and there',
        { cause: error },
      ),
  ],
  [
    /(SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|CERT_UNTRUSTED)/,
    (error) =>
      new DoctorFault(
        'TLS_UNTRUSTED',
        `The TLS certificate is not trusted: ${error.message}`,
        'Put a certificate by a public authority, with the intermediate ones after it, into TLS_CERT_FILE; to trust one of your own, name it in NODE_EXTRA_CA_CERTS here',
        { cause: error },
      ),
  ],
  [
    /^(EPROTO|ERR_SSL_.*)$/,
    (error, url) =>
      new DoctorFault(
        'TLS_EXPECTED_OTHERWISE',
        `TLS with ${url.host} fails: ${error.message.trim()}`,
        'If the port speaks plain HTTP, give its URL as http:// or set TLS_CERT_FILE and TLS_KEY_FILE; else allow TLS 1.2 and 1.3',
        { cause: error },
      ),
  ],
  [
    /^HPE_/,
    (error, url) =>
      new DoctorFault(
        'NOT_HTTP',
        `What answers on ${url.host} does not speak HTTP/1.1`,
        'Check the port; if it speaks TLS, give its URL as https://',
        { cause: error },
      ),
  ],
  [
    /^(ECONNRESET|EPIPE|ECONNABORTED)$/,
    (error, url) =>
      new DoctorFault(
        'CONNECTION_CLOSED',
        `${url.host} closed the connection without an answer`,
        url.protocol === 'https:'
          ? "Look into the gateway's log, and that of any proxy before it"
          : "If the port speaks TLS, give its URL as https://; else look into the gateway's log, and that of any proxy before it",
        { cause: error },
      ),
  ],
];

/**
 * Explains a failed connection.
 *
 * @param error what a request or a WebSocket gave
 */
export function networkFault(error: unknown, url: URL): DoctorFault {
  if (error instanceof DoctorFault) {
    return error;
  }
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    const explain = CODES.find(([pattern]) => pattern.test(code))?.[1];
    if (explain) {
      return explain(cause, url);
    }
  }
  const root = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return new DoctorFault(
    'CONNECTION_CLOSED',
    `${url.host} cannot be spoken with: ${root instanceof Error ? root.message : root}`,
    "Look into the gateway's log, and that of any proxy before it",
    { cause: error },
  );
}
