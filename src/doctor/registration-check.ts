/**
 * What deployed clients need of a registration, beyond its being readable (RS-002; protocol sections 1, 2 and 7).
 */
import { readBer } from '../awala/asn1/reader.ts';
import { Tag } from '../awala/asn1/tags.ts';
import type { ConnectionParams } from '../awala/connection-params.ts';
import type { Certificate } from '../awala/pki/certificate.ts';
import type { RsaPublicKey } from '../awala/pki/rsa-public-key.ts';
import type { Registration } from '../awala/poweb/registration.ts';
import { readSessionPublicKey } from '../awala/session-key.ts';
import { DoctorFault, type DoctorFaultCode } from './fault.ts';

const DAY = 86_400_000;

/** Deployed clients register again, some without a pause, while theirs has this much left or less. */
const LEAST_VALIDITY = 90 * DAY;

/** RS-002: path lengths of what a gateway issues to a peer and to itself. */
const PEER_PATH_LENGTH = 1;
const GATEWAY_PATH_LENGTH = 2;

/** The mend of whatever is wrong with what a gateway issued: it is its program's fault, not its configuration's. */
const PROGRAM_MEND = 'The gateway issues what clients cannot use: update it, or report this to its makers';

/**
 * Checks a new registration.
 *
 * @param own the key that was registered
 * @param now by this machine's clock, in milliseconds
 * @throws DoctorFault CERTIFICATE_WRONG, ANSWER_WRONG; AwalaError CERTIFICATE_*
 */
export function checkRegistration(
  registration: Registration,
  own: RsaPublicKey,
  params: ConnectionParams,
  now: number,
): void {
  const { nodeCertificate, gatewayCertificate, internetAddress, sessionKey } = registration;
  checkChain(nodeCertificate, gatewayCertificate, own);
  checkValidity(nodeCertificate, gatewayCertificate, now);
  for (const certificate of [nodeCertificate, gatewayCertificate]) {
    demand(hasBmpNames(certificate), 'CERTIFICATE_WRONG', 'A certificate has a name that is not a BMPString');
  }
  demand(
    gatewayCertificate.publicKey.equals(params.identityKey),
    'ANSWER_WRONG',
    'Registration and connection parameters name two different gateways',
    'Give all replicas of the gateway the same stores and keys, and point the URL at them only',
  );
  demand(
    internetAddress === params.internetAddress,
    'ANSWER_WRONG',
    `Registration gives the Internet address ${internetAddress}, the connection parameters ${params.internetAddress}`,
    'Give all replicas of the gateway the same INTERNET_ADDRESS',
  );
  demand(sessionKey !== undefined, 'ANSWER_WRONG', 'Registration has no session key');
  demand(
    readSessionPublicKey(sessionKey.publicKey).curve === 'P-256',
    'ANSWER_WRONG',
    'Session key is not on P-256, the only curve that JavaScript clients read',
  );
}

function checkChain(node: Certificate, gateway: Certificate, own: RsaPublicKey): void {
  demand(node.publicKey.equals(own), 'CERTIFICATE_WRONG', 'The certificate that was issued is for another key');
  demand(
    node.isSignedBy(gateway.publicKey),
    'CERTIFICATE_WRONG',
    "The certificate that was issued does not chain to the gateway's own",
  );
  demand(
    gateway.isSignedBy(gateway.publicKey),
    'CERTIFICATE_WRONG',
    "The gateway's own certificate is not self-issued, so that nothing says whether to trust it",
  );
  checkAuthority(node, PEER_PATH_LENGTH, 'The certificate that was issued');
  checkAuthority(gateway, GATEWAY_PATH_LENGTH, "The gateway's own certificate");
}

function checkAuthority({ isCa, pathLength }: Certificate, due: number, which: string): void {
  demand(isCa, 'CERTIFICATE_WRONG', `${which} may not issue others`);
  demand(
    pathLength === due,
    'CERTIFICATE_WRONG',
    `${which} has path length ${pathLength ?? '(none)'} instead of ${due}`,
  );
}

function checkValidity(node: Certificate, gateway: Certificate, now: number): void {
  node.checkDates(now, 0);
  gateway.checkDates(now, 0);
  demand(
    gateway.notBefore <= node.notBefore && node.notAfter <= gateway.notAfter,
    'CERTIFICATE_WRONG',
    "The certificate that was issued is not within the dates of the gateway's own",
  );
  const days = Math.floor((node.notAfter - now) / DAY);
  demand(
    node.notAfter - now > LEAST_VALIDITY,
    'CERTIFICATE_WRONG',
    `The certificate that was issued ends in ${days} days: clients would register again without end`,
    "Let the gateway renew its own certificate: look at 'relay-gateway identity', and that its housekeeping runs",
  );
}

/** Whether issuer and subject are BMPStrings: Android later refuses as untrusted whatever has another type. */
function hasBmpNames(certificate: Certificate): boolean {
  const fields = readBer(certificate.raw, Tag.SEQUENCE).children().next(Tag.SEQUENCE).children();
  const [, , , issuer, , subject] = Array.from({ length: 6 }, () => fields.next());
  return [issuer, subject].every((name) => {
    const attribute = name?.children().next(Tag.SET).children().next(Tag.SEQUENCE).children();
    attribute?.next(Tag.OID);
    return attribute?.tag === Tag.BMP_STRING;
  });
}

function demand(
  condition: boolean,
  code: DoctorFaultCode,
  message: string,
  mend: string = PROGRAM_MEND,
): asserts condition {
  if (!condition) {
    throw new DoctorFault(code, message, mend);
  }
}
