/** The TLS of a door: its certificate's chain and what is left of its life, and the versions that clients need. */
import { once } from 'node:events';
import { isIP } from 'node:net';
import { connect, type SecureVersion } from 'node:tls';
import { DoctorFault } from './fault.ts';
import { networkFault } from './network-fault.ts';
import type { StepResult } from './step.ts';

const DAY = 86_400_000;

/** How long a handshake may take, in milliseconds. */
const LIMIT = 5000;

/** A certificate is renewed when a third of its life is left: with less than this part, nobody renews it. */
const LEAST_LIFE_LEFT = 1 / 6;

/** @throws DoctorFault unless a client from any day trusts the server for a good while */
export async function checkTls(url: URL, signal: AbortSignal): Promise<StepResult<true>> {
  const { version, issuer, notBefore, notAfter } = await shakeHands(url, signal, 'TLSv1.3');
  const left = notAfter - Date.now();
  const end = new Date(notAfter).toISOString().slice(0, 10);
  const days = Math.floor(left / DAY);
  if (left < (notAfter - notBefore) * LEAST_LIFE_LEFT) {
    throw new DoctorFault(
      'TLS_EXPIRES_SOON',
      `The certificate of ${url.host} ends on ${end}, in ${days} days`,
      'Renew it now: relay-gateway certificate renew, and look why its timer did not: systemctl status relay-gateway-certificate',
    );
  }
  if (version !== 'TLSv1.2') {
    await shakeHands(url, signal, 'TLSv1.2').catch((error: Error) => {
      signal.throwIfAborted();
      throw new DoctorFault(
        'TLS_VERSION_MISSING',
        `${url.host} does not speak TLS 1.2: ${error.message}`,
        'Allow TLS 1.2 beside 1.3 at what ends TLS there: phones before Android 10 have no other',
        { cause: error },
      );
    });
  }
  return { value: true, detail: `trusted, by ${issuer}, until ${end} (${days} days); TLS 1.2 is spoken` };
}

/** @throws DoctorFault */
async function shakeHands(url: URL, signal: AbortSignal, maxVersion: SecureVersion) {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const late = AbortSignal.timeout(LIMIT);
  const socket = connect({
    host,
    port: Number(url.port || 443),
    ...(isIP(host) === 0 && { servername: host }),
    // CogRPC is HTTP/2 only.
    ALPNProtocols: ['h2', 'http/1.1'],
    minVersion: 'TLSv1.2',
    maxVersion,
  });
  try {
    await once(socket, 'secureConnect', { signal: AbortSignal.any([signal, late]) });
    const certificate = socket.getPeerX509Certificate();
    return {
      version: socket.getProtocol(),
      issuer: /^(?:O|CN)=(.*)$/m.exec(certificate?.issuer ?? '')?.[1] ?? 'an authority without a name',
      notBefore: Date.parse(certificate?.validFrom ?? ''),
      notAfter: Date.parse(certificate?.validTo ?? ''),
    };
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) {
      throw new DoctorFault(
        'ANSWER_LATE',
        `No TLS handshake with ${url.host} in ${LIMIT / 1000} s`,
        'Check that no firewall stands between here and the port, and that what listens there speaks TLS',
        { cause: error },
      );
    }
    throw networkFault(error, url);
  } finally {
    socket.destroy();
  }
}
