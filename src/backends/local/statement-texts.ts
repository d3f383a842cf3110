/** The texts of statements, which go to the writer thread once: long ones cost more than what they do. */
export class StatementTexts {
  private readonly numbers = new Map<string, number>();
  private untold: string[] = [];

  /** What stands for a text in messages to the writer thread. */
  numberOf(sql: string): number {
    let number = this.numbers.get(sql);
    if (number === undefined) {
      number = this.numbers.size;
      this.numbers.set(sql, number);
      this.untold.push(sql);
    }
    return number;
  }

  /** Those that the writer thread has not been told; it is to be told them now. */
  takeUntold(): string[] {
    const texts = this.untold;
    this.untold = [];
    return texts;
  }
}
