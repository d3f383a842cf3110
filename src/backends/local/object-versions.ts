/** Versions of objects, which are the ids of their rows, and entries as they were put. */
import type { ObjectEntry } from '../../gateway/ports.ts';

/** As it was put: whoever gave it back to us may have added to it. */
export function entryOf({ key, version, arrival, expiry, size, metadata }: ObjectEntry): ObjectEntry {
  return { key, version, arrival, expiry, size, metadata };
}

export function versionOf(id: number): string {
  return id.toString(36);
}

/** -1, which no object has, where the version is none of ours. */
export function idOf(version: string): number {
  const id = Number.parseInt(version, 36);
  return Number.isSafeInteger(id) && versionOf(id) === version ? id : -1;
}
