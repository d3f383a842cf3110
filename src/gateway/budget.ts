/**
 * A budget that many share: who asks for more than is left waits for its turn, first come, first served.
 */

interface Waiter {
  readonly amount: number;
  readonly admit: () => void;
}

export class Budget {
  private readonly capacity: number;
  private left: number;
  private readonly waiting: Waiter[] = [];

  /** @param capacity how much may be taken at once, in whatever is counted: turns, octets */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.left = capacity;
  }

  /**
   * Resolves when `amount` is taken; more than the whole budget counts as the whole.
   *
   * @returns gives it back; to be called once
   */
  async take(amount: number): Promise<() => void> {
    const share = Math.min(amount, this.capacity);
    if (this.waiting.length > 0 || share > this.left) {
      await new Promise<void>((admit) => this.waiting.push({ amount: share, admit }));
    } else {
      this.left -= share;
    }
    return () => this.give(share);
  }

  private give(amount: number): void {
    this.left += amount;
    for (let next = this.waiting[0]; next && next.amount <= this.left; next = this.waiting[0]) {
      this.left -= next.amount;
      this.waiting.shift();
      next.admit();
    }
  }
}
