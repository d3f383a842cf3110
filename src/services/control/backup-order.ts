/** A backup that was made, so that the gateway can tell how old the last one is. */
import type { Records } from '../../gateway/ports.ts';
import type { ControlParameters } from './control-socket.ts';

/** Where it is noted: a record of the kind `configuration`, with `time` (ms since 1970), `records` and `octets`. */
const LAST_BACKUP = 'last-backup';

/** As of when the last backup is, in milliseconds; undefined where there has been none. @throws StoreError */
export async function lastBackup(records: Records): Promise<number | undefined> {
  return (await records.get('configuration', LAST_BACKUP))?.fields['time'] as number | undefined;
}

/**
 * @param parameters `time`, `records` and `octets`, each a whole number
 * @throws TypeError, StoreError
 */
export async function noteBackup(
  records: Records,
  { time, records: count, octets }: ControlParameters,
): Promise<{ readonly time: number }> {
  const fields = { time: wholeNumber(time), records: wholeNumber(count), octets: wholeNumber(octets) };
  await records.put('configuration', LAST_BACKUP, fields);
  return { time: fields.time };
}

function wholeNumber(text = ''): number {
  if (!/^\d{1,15}$/.test(text)) {
    throw new TypeError('It must be a whole number');
  }
  return Number(text);
}
