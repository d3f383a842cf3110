/** `relay-gateway trace PARCEL-ID`: where a parcel has been, where it waits, and why it was refused. */
import type { Environment } from '../config.ts';
import type { Hop, ParcelTrace, TraceReport, Wait } from '../services/control/trace-report.ts';
import { askGateway } from './control.ts';
import { table } from './table.ts';

/**
 * @param options.logs files with log lines to be read, in place of asking a gateway
 * @returns the exit code: 1 when nothing is known
 */
export async function trace(
  environment: Environment,
  id: string,
  { logs, json }: { logs?: readonly string[]; json?: true },
): Promise<number> {
  const report = logs
    ? await (await import('./log-trace.ts')).traceLogs(id, logs)
    : await askGateway<TraceReport>(environment, 'GET trace', { id }, { timeout: 60_000 });
  const isKnown = report.parcels.length > 0;
  if (json) {
    console.log(JSON.stringify(report, undefined, 2));
  } else if (isKnown) {
    console.log(report.parcels.map(describe).join('\n\n'));
  } else {
    const why = logs
      ? 'these logs do not have it (LOG_LEVEL=info has it)'
      : 'the journal has forgotten it (JOURNAL_OCTETS)';
    console.error(`Nothing is known of ${id}: it never came, or ${why}`);
  }
  return isKnown ? 0 : 1;
}

function describe({ parcel, sender, recipient, hops, waits }: ParcelTrace): string {
  const lines = [
    table([
      ['Parcel', parcel],
      ['from', sender],
      ['to', recipient],
    ]),
    table(
      hops.map((hop) => [hop.time, hop.event, describeHop(hop)]),
      '  ',
    ),
    ...(waits ?? []).map(describeWait),
  ];
  if (waits?.length === 0) {
    lines.push('It waits nowhere in this gateway');
  }
  return lines.join('\n');
}

function describeHop(hop: Hop): string {
  const { door, peer, place, mailbox, destination, size, code, reason, next, trace: id } = hop;
  const parts = [
    door && `by ${door}`,
    place && `in ${place}`,
    mailbox && `for ${mailbox}`,
    destination && `for ${destination}`,
    peer && peer !== mailbox && `private gateway ${peer}`,
    size !== undefined && `${size} octets`,
    code && `${code}: ${reason ?? ''}`,
    next && `next try ${next}`,
    `trace ${id}`,
  ];
  return parts.filter((part) => part).join(', ');
}

function describeWait({ place, since, expiry, next, attempts }: Wait): string {
  const tried = next ? `; next try ${next}, postponed ${attempts} times` : '';
  return `Waits in ${place} since ${since}, until ${expiry}${tried}`;
}
