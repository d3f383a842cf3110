/** Faults of the emulated service, on demand. */

/** Methods of the JSON API, and `objects.media` for `objects.get` with `alt=media`. */
export type Operation =
  | 'buckets.insert'
  | 'buckets.get'
  | 'buckets.patch'
  | 'buckets.delete'
  | 'buckets.getIamPolicy'
  | 'buckets.setIamPolicy'
  | 'objects.insert'
  | 'objects.get'
  | 'objects.media'
  | 'objects.list'
  | 'objects.delete';

export type Fault =
  /** Answers this instead of doing anything. Reasons: https://cloud.google.com/storage/docs/json_api/v1/status-codes */
  | { readonly kind: 'status'; readonly status: number; readonly reason: string }
  /** Drops the connection before anything is done. */
  | { readonly kind: 'drop' }
  /** Does what it was asked, and drops the connection instead of answering. */
  | { readonly kind: 'drop-answer' }
  /** `objects.media`: drops the connection in the middle of the body. */
  | { readonly kind: 'drop-within' }
  /** Takes the request and never answers. */
  | { readonly kind: 'silence' }
  /** Waits for so many milliseconds first. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** One octet of the body changes on its way, up or down. */
  | { readonly kind: 'corrupt' }
  /** `objects.insert`: keeps other octets than it was given, and compares no checksum. */
  | { readonly kind: 'keep-corrupt' }
  /** `objects.media`: answers without its checksum. */
  | { readonly kind: 'no-checksum' }
  /** Waits, before anything is done, until the hold is released. */
  | {
      readonly kind: 'hold';
      readonly reached: () => void;
      readonly abandoned: () => void;
      readonly released: Promise<void>;
      readonly isInHand: boolean;
    };

export interface Hold {
  /** Resolves when the request has come. */
  readonly reached: Promise<void>;
  /** Resolves when whoever asked has hung up. */
  readonly abandoned: Promise<void>;
  release(): void;
}

/** Which request meets which fault. */
export class Faults {
  private readonly once = new Map<Operation, Fault[]>();
  private readonly lasting = new Map<Operation, Fault>();

  /** The next requests for this operation meet these faults, one each. */
  next(operation: Operation, ...faults: readonly Fault[]): void {
    this.once.set(operation, [...(this.once.get(operation) ?? []), ...faults]);
  }

  /** Every request for these operations meets this fault, until `clear`. */
  always(operations: readonly Operation[], fault: Fault): void {
    for (const operation of operations) {
      this.lasting.set(operation, fault);
    }
  }

  /**
   * The next request for this operation waits before anything is done.
   *
   * @param options.isInHand it is done then also where whoever asked has hung up meanwhile; else it is not, as where the
   *   request was still on its way
   */
  hold(operation: Operation, { isInHand = false }: { isInHand?: boolean } = {}): Hold {
    const reached = Promise.withResolvers<void>();
    const abandoned = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    this.next(operation, {
      kind: 'hold',
      reached: reached.resolve,
      abandoned: abandoned.resolve,
      released: released.promise,
      isInHand,
    });
    return { reached: reached.promise, abandoned: abandoned.promise, release: released.resolve };
  }

  clear(): void {
    this.once.clear();
    this.lasting.clear();
  }

  take(operation: Operation): Fault | undefined {
    return this.once.get(operation)?.shift() ?? this.lasting.get(operation);
  }
}
