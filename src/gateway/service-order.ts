/** The order in which the hosts of a service are to be tried (RFC 2782). */

/** One SRV record. */
export interface ServiceRecord {
  readonly priority: number;
  readonly weight: number;
  readonly target: string;
  readonly port: number;
}

/**
 * Lowest priority first; within one, each next is drawn by weight. Those without weight have little chance while others
 * of their priority are left.
 *
 * @param chance gives a number from 0 up to 1
 */
export function orderServices<Record extends ServiceRecord>(
  records: readonly Record[],
  chance: () => number,
): Record[] {
  if (records.length < 2) {
    return [...records];
  }
  const ordered: Record[] = [];
  const priorities = [...new Set(records.map(({ priority }) => priority))].sort((one, other) => one - other);
  for (const priority of priorities) {
    // Those without weight go first, as RFC 2782 has it, so that a draw of 0 picks one of them.
    const left = records
      .filter((record) => record.priority === priority)
      .sort((one, other) => Math.sign(one.weight) - Math.sign(other.weight));
    while (left.length > 0) {
      const total = left.reduce((sum, { weight }) => sum + weight, 0);
      const drawn = Math.floor(chance() * (total + 1));
      let sum = 0;
      const index = left.findIndex(({ weight }) => {
        sum += weight;
        return sum >= drawn;
      });
      ordered.push(...left.splice(index, 1));
    }
  }
  return ordered;
}
