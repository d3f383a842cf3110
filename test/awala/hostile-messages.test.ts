/**
 * Messages from strangers, changed or made up: every reader refuses them with a code, or finds the same in them.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import fc from 'fast-check';
import { readConnectionParams, writeConnectionParams } from '../../src/awala/connection-params.ts';
import { AwalaError } from '../../src/awala/errors.ts';
import { readCertificate } from '../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import {
  readHandshakeChallenge,
  readHandshakeResponse,
  verifyNonceSignature,
  writeHandshakeChallenge,
  writeHandshakeResponse,
  writeNonceSignature,
} from '../../src/awala/poweb/collection-handshake.ts';
import { verifyParcelCountersignature, writeParcelCountersignature } from '../../src/awala/poweb/countersignature.ts';
import { readParcelDelivery, writeParcelDelivery } from '../../src/awala/poweb/parcel-delivery.ts';
import { readRegistration, writeRegistration } from '../../src/awala/poweb/registration.ts';
import {
  readRegistrationAuthorization,
  writeRegistrationAuthorization,
} from '../../src/awala/poweb/registration-authorization.ts';
import { readRegistrationRequest, writeRegistrationRequest } from '../../src/awala/poweb/registration-request.ts';
import { readParcel, verifyParcelForMailbox } from '../../src/awala/ramf/parcel.ts';
import { readSessionPublicKey } from '../../src/awala/session-key.ts';
import { anyOctets, mutated } from '../support/mutations.ts';
import { newSessionKey, testChain, testParcel } from '../support/pki.ts';

const NOW = Date.now();
const DRIFT = 7_200_000;
const CONTENT = Buffer.from('parcel or nonce');

/** A message from a stranger. */
interface Subject {
  readonly message: Buffer;
  /** Reads it, and gives what must be as in the unchanged message if a changed one is accepted at all. */
  readonly read: (bytes: Buffer) => unknown;
}

const NAMES = [
  'certificate',
  'parcel',
  'registration authorization',
  'registration request',
  'registration',
  'parcel countersignature',
  'handshake challenge',
  'handshake response',
  'nonce signature',
  'parcel delivery',
  'connection parameters',
  'session key',
] as const;

let subjects: Record<(typeof NAMES)[number], Subject>;
before(async () => {
  const chain = await testChain();
  const { gateway, privateGateway } = chain;
  const sessionKey = newSessionKey();
  const trusted = [gateway.certificate];
  const authorization = { expiry: NOW + 9000, gatewayData: CONTENT };
  const request = { publicKey: privateGateway.publicKey, authorization: CONTENT };
  subjects = {
    certificate: {
      message: privateGateway.certificate.raw,
      // Who issued it to whom, until when, if it is taken for ours.
      read: (bytes) => {
        const { subjectId, issuerId, notAfter, isCa, ...certificate } = verified(readCertificate(bytes));
        return { subjectId, issuerId, notAfter, isCa, serialNumber: certificate.serialNumber };
      },
    },
    parcel: {
      message: await testParcel(chain),
      read: (bytes) => {
        const { parcel, mailbox } = verifyParcelForMailbox(readParcel(bytes, cache()), trusted, NOW, DRIFT);
        const { recipient, messageId, creation, ttl, payload } = parcel;
        return { mailbox, recipient, messageId, creation, ttl, payload: payload.toString('hex') };
      },
    },
    'registration authorization': {
      message: await writeRegistrationAuthorization(authorization, gateway.key),
      read: (bytes) => readRegistrationAuthorization(bytes, [gateway.publicKey], NOW),
    },
    'registration request': {
      message: await writeRegistrationRequest(request, privateGateway.key),
      read: (bytes) => {
        const { publicKey, authorization: inside } = readRegistrationRequest(bytes);
        return [publicKey.nodeId, inside];
      },
    },
    registration: {
      message: writeRegistration({
        nodeCertificate: privateGateway.certificate,
        gatewayCertificate: gateway.certificate,
        internetAddress: 'gateway.example.com',
        sessionKey,
      }),
      read: (bytes) => void readRegistration(bytes),
    },
    'parcel countersignature': {
      message: await writeParcelCountersignature(CONTENT, privateGateway),
      read: (bytes) => verifyParcelCountersignature(bytes, CONTENT, trusted, cache(), NOW, DRIFT).subjectId,
    },
    'handshake challenge': {
      message: writeHandshakeChallenge(CONTENT),
      read: (bytes) => void readHandshakeChallenge(bytes),
    },
    'handshake response': {
      message: writeHandshakeResponse([CONTENT, CONTENT]),
      read: (bytes) => void readHandshakeResponse(bytes),
    },
    'nonce signature': {
      message: await writeNonceSignature(CONTENT, privateGateway),
      read: (bytes) => verifyNonceSignature(bytes, CONTENT, trusted, cache(), NOW, DRIFT).subjectId,
    },
    'parcel delivery': {
      message: writeParcelDelivery({ deliveryId: '1', parcel: CONTENT }),
      read: (bytes) => void readParcelDelivery(bytes),
    },
    'connection parameters': {
      message: writeConnectionParams({
        internetAddress: 'gateway.example.com',
        identityKey: gateway.publicKey.spki,
        sessionKey,
      }),
      read: (bytes) => void readConnectionParams(bytes),
    },
    'session key': {
      message: sessionKey.publicKey,
      read: (bytes) => void readSessionPublicKey(bytes),
    },
  };

  function verified(certificate: ReturnType<typeof readCertificate>) {
    if (!certificate.isSignedBy(gateway.publicKey)) {
      throw new AwalaError('CERTIFICATE_UNTRUSTED', 'Certificate is not signed by the gateway');
    }
    return certificate;
  }
});

function cache(): CertificateCache {
  return new CertificateCache(1024 * 1024);
}

/** What `read` gives, or the fact that it refuses; fails if it throws anything but a refusal. */
function outcome(read: () => unknown): unknown {
  try {
    return { accepted: read() };
  } catch (error) {
    assert.ok(error instanceof AwalaError, `threw ${error instanceof Error ? error.stack : error}`);
    return 'refused';
  }
}

describe('A message from a stranger', () => {
  for (const name of NAMES) {
    it(`is refused or means the same, however it was changed: ${name}`, () => {
      const { message, read } = subjects[name];
      const unchanged = outcome(() => read(message));
      assert.notEqual(unchanged, 'refused');
      let refusals = 0;
      fc.assert(
        fc.property(mutated(message), (bytes) => {
          const changed = outcome(() => read(bytes));
          if (changed === 'refused') {
            refusals++;
          } else {
            assert.deepEqual(changed, unchanged);
          }
        }),
        { numRuns: 1500 },
      );
      assert.ok(refusals > 0);
    });

    it(`is refused, not stumbled over, when it is any octets: ${name}`, () => {
      const { read } = subjects[name];
      fc.assert(
        fc.property(anyOctets(), (bytes) => void outcome(() => read(bytes))),
        { numRuns: 1500 },
      );
    });

    it(`is refused when it is cut off anywhere: ${name}`, () => {
      const { message, read } = subjects[name];
      for (let length = 0; length < message.length; length++) {
        assert.equal(
          outcome(() => read(message.subarray(0, length))),
          'refused',
          `cut off after ${length} octets`,
        );
      }
    });
  }
});
