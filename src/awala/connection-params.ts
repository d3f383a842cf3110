/**
 * The connection parameters of an Internet gateway (RS-000, protocol section 7): what a private gateway must know of it
 * before it registers.
 *
 * `SEQUENCE { [0] internetAddress, [1] identity key, [2] SEQUENCE { [0] session key id, [1] session key } }`
 */
import { readBer } from './asn1/reader.ts';
import { context, contextConstructed, Tag } from './asn1/tags.ts';
import { readVisibleString } from './asn1/values.ts';
import { primitive, sequence, visibleString } from './asn1/writer.ts';
import { AwalaError, refusingAs } from './errors.ts';
import { isInternetAddress, MAX_INTERNET_ADDRESS_LENGTH } from './internet-address.ts';
import { type RsaPublicKey, readRsaPublicKey } from './pki/rsa-public-key.ts';
import { type PublicSessionKey, readPublicSessionKey, writePublicSessionKey } from './session-key.ts';

/** The largest parameters that are read; with an RSA 4096 key they take about 700 octets. */
const MAX_OCTETS = 8 * 1024;

export interface ConnectionParamsFields {
  readonly internetAddress: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly identityKey: Buffer;
  readonly sessionKey: PublicSessionKey;
}

export interface ConnectionParams {
  readonly internetAddress: string;
  readonly identityKey: RsaPublicKey;
  readonly sessionKey: PublicSessionKey;
}

/** Serializes connection parameters, DER. */
export function writeConnectionParams(params: ConnectionParamsFields): Buffer {
  return sequence(
    visibleString(params.internetAddress, context(0)),
    primitive(context(1), params.identityKey),
    writePublicSessionKey(params.sessionKey, 2),
  );
}

/**
 * Reads connection parameters.
 *
 * @throws AwalaError CONNECTION_PARAMS_MALFORMED, KEY_UNSUPPORTED, ASN1_TOO_COMPLEX
 */
export function readConnectionParams(bytes: Buffer): ConnectionParams {
  if (bytes.length > MAX_OCTETS) {
    throw new AwalaError('CONNECTION_PARAMS_MALFORMED', `Connection parameters are larger than ${MAX_OCTETS} octets`);
  }
  return refusingAs('CONNECTION_PARAMS_MALFORMED', 'Connection parameters', () => {
    const fields = readBer(bytes, Tag.SEQUENCE).children();
    const internetAddress = readVisibleString(fields.string(context(0)), MAX_INTERNET_ADDRESS_LENGTH);
    if (!isInternetAddress(internetAddress)) {
      throw new AwalaError('CONNECTION_PARAMS_MALFORMED', `"${internetAddress}" is not a domain name`);
    }
    const identityKey = readRsaPublicKey(fields.string(context(1)).octets());
    const sessionKey = readPublicSessionKey(fields.next(contextConstructed(2)));
    return { internetAddress, identityKey, sessionKey };
  });
}
