import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { AwalaError } from '../../src/awala/errors.ts';
import { readCertificate } from '../../src/awala/pki/certificate.ts';
import { CertificateCache } from '../../src/awala/pki/certificate-cache.ts';
import { readParcel, verifyParcelForMailbox } from '../../src/awala/ramf/parcel.ts';
import { malformedCertificates } from '../support/corpus-certificates.ts';
import { malformedParcels } from '../support/corpus-parcels.ts';
import { HandmadeChain, NOW } from '../support/handmade-chain.ts';

const CORPUS = new URL('./corpus/', import.meta.url);

const chain = await HandmadeChain.make();
const ours = [readCertificate(read('valid/gateway'))];

function read(path: string): Buffer {
  return readFileSync(new URL(path, CORPUS));
}

/** Verifies a parcel as a mailbox would, with caches cold and warm. */
function verify(bytes: Buffer, cache = new CertificateCache()) {
  return verifyParcelForMailbox(readParcel(bytes, cache), ours, NOW, 0);
}

function refuses(code: string, action: () => unknown): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof AwalaError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.length > 10);
    return true;
  });
}

/** The names in one part of the corpus, and the code that each starts with. */
function namesOf(kind: string): { readonly name: string; readonly code: string }[] {
  return readdirSync(new URL(`${kind}/`, CORPUS)).map((name) => ({ name, code: name.slice(0, name.indexOf('.')) }));
}

describe('Corpus of malformed messages', () => {
  it('is made from a parcel that is accepted', () => {
    assert.equal(verify(read('valid/parcel')).mailbox, chain.keys.privateGateway.id);
  });

  it('holds what the generator makes', () => {
    const names = (kind: string) => namesOf(kind).map(({ name }) => name);
    assert.deepEqual(names('certificates').toSorted(), Object.keys(malformedCertificates(chain)).toSorted());
    assert.deepEqual(names('parcels').toSorted(), Object.keys(malformedParcels(chain)).toSorted());
  });

  for (const { name, code } of namesOf('certificates')) {
    it(`refuses certificate ${name}`, () => {
      refuses(code, () => readCertificate(read(`certificates/${name}`)));
    });
  }

  for (const { name, code } of namesOf('parcels')) {
    it(`refuses parcel ${name}`, () => {
      const bytes = read(`parcels/${name}`);
      refuses(code, () => verify(bytes));
      const warm = new CertificateCache();
      verify(read('valid/parcel'), warm);
      verify(read('valid/parcel'), warm);
      refuses(code, () => verify(bytes, warm));
      refuses(code, () => verify(bytes, warm));
    });
  }
});
