/**
 * What it costs to read and fully verify a parcel, beside the least that node's own crypto takes for the same and what
 * the official JavaScript library takes.
 *
 * Machines are noisy, and a disturbed round only ever takes longer: so each case and its floor take turns in short
 * rounds, and what counts is the mean of the faster half of each one's rounds. Run by itself it prints its rows, and exits 1 when a bar is missed.
 */
import { constants, createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { type Certificate as OfficialCertificate, Parcel } from '@relaycorp/relaynet-core';
import { type Certificate, readCertificate } from '../src/awala/pki/certificate.ts';
import { CertificateCache } from '../src/awala/pki/certificate-cache.ts';
import { readParcel, verifyParcelForMailbox } from '../src/awala/ramf/parcel.ts';
import {
  type OfficialChain,
  officialAuthorization,
  officialChain,
  officialParcel,
} from '../test/support/official-chain.ts';
import { type Row, runAlone } from './row.ts';

const HOUR = 3_600_000;
const KIB = 1024;
const MIB = 1024 * KIB;

const ROUNDS = 31;

/** Parcels from as many new senders as a round reads. */
const NEW_SENDERS = 64;

/** One `crypto.verify` call of the several that a parcel needs. */
interface Check {
  readonly key: KeyObject;
  readonly spki: Buffer;
  readonly data: Buffer;
  readonly signature: Buffer;
}

/** Measures all cases. */
export async function parcelVerifyRows(): Promise<Row[]> {
  const chain = await officialChain();
  const trusted = [readCertificate(serialized(chain.gateway))];
  const small = await officialParcel(chain);
  const large = await officialParcel(chain, { payload: Buffer.alloc(MIB, 'parcel') });
  const newSenders: Buffer[] = [];
  for (let i = 0; i < NEW_SENDERS; i++) {
    const pda = await officialAuthorization(chain, chain.keys.sender);
    newSenders.push(await officialParcel(chain, { pda }));
  }
  return [
    ...knownSender(small, trusted),
    ...newSender(newSenders, small, trusted),
    ...unknownIssuers(small, trusted),
    ...longParcel(large, trusted),
    ...(await officialLibrary(chain, small, large)),
  ];
}

/** All certificates are known: one signature is left to check. */
function knownSender(bytes: Buffer, trusted: readonly Certificate[]): Row[] {
  const cache = warmCache(bytes, trusted);
  const [signature] = checks(bytes, trusted) as [Check];
  const result = race(
    () => repeat(200, () => verifyFully(bytes, cache, trusted)),
    () => repeat(200, () => bareVerify(signature)),
    200,
  );
  return rows('1 KiB, sender known', 'verify', result, 2);
}

/** The issuers are known, each sender is new: its authorization and its signature are to be checked. */
function newSender(parcels: readonly Buffer[], known: Buffer, trusted: readonly Certificate[]): Row[] {
  const all = parcels.map((bytes) => checks(bytes, trusted).slice(0, 2));
  const result = race(
    () => {
      const cache = warmCache(known, trusted);
      return timed(() => {
        for (const bytes of parcels) {
          verifyFully(bytes, cache, trusted);
        }
      });
    },
    () => timed(() => all.flat().forEach(bareVerify)),
    parcels.length,
  );
  return rows('1 KiB, issuers known', '2 verify', result, 2);
}

/** Nothing is known but our own certificate, whose key checks the last link. */
function unknownIssuers(bytes: Buffer, trusted: readonly Certificate[]): Row[] {
  const all = checks(bytes, trusted);
  const [ours, strange] = [all.slice(-1), all.slice(0, -1)];
  const result = race(
    () =>
      repeat(50, () => {
        const cache = new CertificateCache();
        trusted.forEach((own) => {
          cache.remember(own);
        });
        verifyFully(bytes, cache, trusted);
      }),
    () =>
      repeat(50, () => {
        strange.forEach(importAndVerify);
        ours.forEach(bareVerify);
      }),
    50,
  );
  return rows('1 KiB, issuers unknown', `${strange.length} import + ${all.length} verify`, result, 1.5);
}

function longParcel(bytes: Buffer, trusted: readonly Certificate[]): Row[] {
  const cache = warmCache(bytes, trusted);
  const [signature] = checks(bytes, trusted) as [Check];
  const content = Buffer.concat(readParcel(bytes, cache).signedData.content ?? []);
  const result = race(
    () => repeat(10, () => verifyFully(bytes, cache, trusted)),
    () =>
      repeat(10, () => {
        hash('sha256', content, 'buffer');
        bareVerify(signature);
      }),
    10,
  );
  return rows('1 MiB, sender known', 'SHA-256 + verify', result, 1.5);
}

/** The official library on the same bytes, for comparison. */
async function officialLibrary(chain: OfficialChain, small: Buffer, large: Buffer): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [name, bytes] of Object.entries({ '1 KiB': small, '1 MiB': large })) {
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const start = process.hrtime.bigint();
      await verifyOfficially(bytes, chain.gateway);
      times.push(Number(process.hrtime.bigint() - start) / 1000);
    }
    rows.push({ name: `parcel-verify: ${name}, @relaycorp/relaynet-core`, value: undisturbed(times), unit: 'µs' });
  }
  return rows;
}

async function verifyOfficially(bytes: Buffer, trusted: OfficialCertificate): Promise<void> {
  const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const parcel = await Parcel.deserialize(copy);
  await parcel.validate([trusted]);
}

function verifyFully(bytes: Buffer, cache: CertificateCache, trusted: readonly Certificate[]): void {
  verifyParcelForMailbox(readParcel(bytes, cache), trusted, Date.now(), 2 * HOUR);
}

/** A cache that has met the parcel's certificates twice, as those in use have been. */
function warmCache(bytes: Buffer, trusted: readonly Certificate[]): CertificateCache {
  const cache = new CertificateCache();
  verifyFully(bytes, cache, trusted);
  verifyFully(bytes, cache, trusted);
  return cache;
}

/** The `crypto.verify` calls that a parcel needs when nothing is known: its own, then its path's from the sender up. */
function checks(bytes: Buffer, trusted: readonly Certificate[]): Check[] {
  const { signedData, sender } = readParcel(bytes, new CertificateCache());
  const all = [check(sender, signedData.signature.signed, signedData.signature.octets)];
  const issuers = [...signedData.certificates, ...trusted];
  for (let subject = sender; !subject.isSelfIssued; ) {
    const issuer = issuers.find((candidate) => candidate.subjectId === subject.issuerId) as Certificate;
    const { signed, signature } = subject.issuerSignature;
    all.push(check(issuer, signed, signature));
    subject = issuer;
  }
  if (!all.every(bareVerify)) {
    throw new Error('The floor does not verify what it is meant to');
  }
  return all;
}

function check(signer: Certificate, data: Buffer, signature: Buffer): Check {
  const { keyObject: key, spki } = signer.publicKey;
  return { key, spki, data, signature };
}

function bareVerify({ key, data, signature }: Check): boolean {
  return verify('sha256', data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }, signature);
}

function importAndVerify({ spki, data, signature }: Check): boolean {
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  return verify('sha256', data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }, signature);
}

interface Race {
  /** µs per parcel. */
  readonly ours: number;
  readonly floor: number;
}

/** Lets the two take turns; each gives the milliseconds that a batch of `count` parcels took. */
function race(ours: () => number, floor: () => number, count: number): Race {
  for (let warmUp = 0; warmUp < ROUNDS; warmUp++) {
    ours();
    floor();
  }
  const rounds = Array.from({ length: ROUNDS }, () => ({ ours: ours(), floor: floor() }));
  const perParcel = (milliseconds: number) => (milliseconds * 1000) / count;
  return {
    ours: perParcel(undisturbed(rounds.map((round) => round.ours))),
    floor: perParcel(undisturbed(rounds.map((round) => round.floor))),
  };
}

/** Mean of the faster half, which the collection of garbage is part of. */
function undisturbed(times: readonly number[]): number {
  const fastest = times.toSorted((a, b) => a - b).slice(0, Math.ceil(times.length / 2));
  return fastest.reduce((sum, time) => sum + time, 0) / fastest.length;
}

function rows(name: string, floorName: string, { ours, floor }: Race, bar: number): Row[] {
  const ratio = ours / floor;
  return [
    { name: `parcel-verify: ${name}`, value: ours, unit: 'µs' },
    { name: `parcel-verify: ${name}, floor (${floorName})`, value: floor, unit: 'µs' },
    { name: `parcel-verify: ${name}, to floor`, value: ratio, unit: '×', bar: `≤ ${bar}`, ok: ratio <= bar },
  ];
}

function repeat(times: number, action: () => void): number {
  return timed(() => {
    for (let i = 0; i < times; i++) {
      action();
    }
  });
}

function timed(action: () => void): number {
  const start = process.hrtime.bigint();
  action();
  return Number(process.hrtime.bigint() - start) / 1e6;
}

function serialized(certificate: OfficialCertificate): Buffer {
  return Buffer.from(certificate.serialize());
}

await runAlone(import.meta, parcelVerifyRows);
