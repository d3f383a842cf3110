/**
 * Makes the corpus of malformed messages anew: `node test/support/make-corpus.ts`.
 *
 * Signatures are made with random salts, so that every file changes; what is wrong with it does not.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { type Corpus, malformedCertificates } from './corpus-certificates.ts';
import { malformedParcels } from './corpus-parcels.ts';
import { HandmadeChain } from './handmade-chain.ts';

const CORPUS = new URL('../awala/corpus/', import.meta.url);

function write(kind: string, corpus: Corpus): void {
  const directory = new URL(`${kind}/`, CORPUS);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const [name, bytes] of Object.entries(corpus)) {
    writeFileSync(new URL(name, directory), bytes);
  }
}

const chain = await HandmadeChain.make();
write('certificates', malformedCertificates(chain));
write('parcels', malformedParcels(chain));
write('valid', { gateway: chain.certificates.gateway, parcel: chain.parcel() });
