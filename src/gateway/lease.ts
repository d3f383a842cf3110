/**
 * A lease in the records: of all processes of a gateway one at a time has it, and another once that one is gone.
 *
 * It spares work that only one need do; nothing may depend on nobody else doing it too, since clocks differ and a process
 * that was stopped for a while believes that it still has what ran out meanwhile.
 */
import type { Clock, Records } from './ports.ts';

const KIND = 'leases';

export interface LeaseParts {
  readonly records: Records;
  readonly clock: Clock;
  /** What it is for. */
  readonly name: string;
  /** Tells this process from all others. */
  readonly holder: string;
  /** For how long it is taken each time, in milliseconds. */
  readonly duration: number;
}

export class Lease {
  private readonly parts: LeaseParts;

  constructor(parts: LeaseParts) {
    this.parts = parts;
  }

  /**
   * Takes the lease if nobody has it, and extends it if this process has.
   *
   * @returns whether this process has it now
   * @throws StoreError
   */
  async hold(): Promise<boolean> {
    const { records, clock, name, holder, duration } = this.parts;
    const expiry = clock.now() + duration;
    const mine = await this.mine();
    return mine
      ? records.replace(KIND, name, mine.version, { holder }, expiry)
      : records.create(KIND, name, { holder }, expiry);
  }

  /** Lets another process have it. @throws StoreError */
  async release(): Promise<void> {
    const mine = await this.mine();
    if (mine) {
      await this.parts.records.delete(KIND, this.parts.name, mine.version);
    }
  }

  private async mine() {
    const { records, name, holder } = this.parts;
    const record = await records.get(KIND, name);
    return record?.fields['holder'] === holder ? record : undefined;
  }
}
