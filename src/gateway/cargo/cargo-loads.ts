/**
 * Up to when a mailbox was loaded into cargo: a collection acknowledgement (PCA) names a parcel and not its version, and
 * must not delete one that came since, which the private gateway cannot have (RS-001: parcels are replaced by their id).
 */
import type { Records } from '../ports.ts';
import { DAY } from '../time.ts';

/** As long as any parcel may wait, and couriers may be under way. */
const MEMORY = 400 * DAY;

export class CargoLoads {
  private readonly records: Records;

  constructor({ records }: { records: Records }) {
    this.records = records;
  }

  /**
   * Notes that parcels of private gateway `peer` are about to leave in cargo; durable when it resolves.
   *
   * @param until none of them arrived later: ms since 1970
   * @throws StoreError
   */
  async note(peer: string, until: number): Promise<void> {
    const before = await this.until(peer);
    if (until > before) {
      await this.records.put('cargo-collections', keyOf(peer), { until }, until + MEMORY);
    }
  }

  /** What arrived later never left in cargo: ms since 1970; 0 where nothing did. @throws StoreError */
  async until(peer: string): Promise<number> {
    return ((await this.records.get('cargo-collections', keyOf(peer)))?.fields['until'] as number | undefined) ?? 0;
  }
}

function keyOf(peer: string): string {
  return `${peer}/loaded`;
}
