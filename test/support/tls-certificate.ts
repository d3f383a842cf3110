/** TLS certificates for tests: self-signed, for one host name. */
import { webcrypto } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Integer, Utf8String } from 'asn1js';
import {
  AttributeTypeAndValue,
  Certificate,
  CryptoEngine,
  Extension,
  GeneralName,
  GeneralNames,
  type ICryptoEngine,
  Time,
} from 'pkijs';

const DAY = 86_400_000;

const COMMON_NAME = '2.5.4.3';
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
const DNS_NAME = 2;

/** A certificate and its key in two PEM files, which go when it is disposed of. */
export interface TlsCertificate extends Disposable {
  /** PEM. */
  readonly certificate: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Makes a certificate with a P-256 key; valid from yesterday until tomorrow unless told otherwise. */
export async function newTlsCertificate(hostName: string, notAfter = Date.now() + DAY): Promise<TlsCertificate> {
  const crypto = webcrypto as Crypto;
  const { publicKey, privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const engine = new CryptoEngine({ crypto }) as unknown as ICryptoEngine;
  const builder = new Certificate({
    version: 2,
    serialNumber: new Integer({ value: 1 }),
    notBefore: new Time({ value: new Date(notAfter - 2 * DAY) }),
    notAfter: new Time({ value: new Date(notAfter) }),
  });
  const name = new AttributeTypeAndValue({ type: COMMON_NAME, value: new Utf8String({ value: hostName }) });
  builder.issuer.typesAndValues.push(name);
  builder.subject.typesAndValues.push(name);
  const alternativeName = new GeneralNames({ names: [new GeneralName({ type: DNS_NAME, value: hostName })] });
  builder.extensions = [
    new Extension({ extnID: SUBJECT_ALTERNATIVE_NAME, extnValue: alternativeName.toSchema().toBER() }),
  ];
  await builder.subjectPublicKeyInfo.importKey(publicKey, engine);
  await builder.sign(privateKey, 'SHA-256', engine);

  const directory = mkdtempSync(path.join(tmpdir(), 'relay-gateway-tls-'));
  const certificateFile = path.join(directory, 'certificate.pem');
  const keyFile = path.join(directory, 'key.pem');
  const certificate = pem('CERTIFICATE', builder.toSchema(true).toBER());
  writeFileSync(certificateFile, certificate);
  writeFileSync(keyFile, pem('PRIVATE KEY', await crypto.subtle.exportKey('pkcs8', privateKey)), { mode: 0o600 });
  return {
    certificate,
    certificateFile,
    keyFile,
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

function pem(label: string, der: ArrayBuffer): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
