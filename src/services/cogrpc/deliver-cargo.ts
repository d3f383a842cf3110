/**
 * DeliverCargo (RS-008): takes a courier's cargo and acknowledges what is stored, or of no use to anybody.
 */
import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { AwalaError } from '../../awala/errors.ts';
import type { CargoDelivery as CargoDoor } from '../../gateway/cargo/cargo-delivery.ts';
import { type CargoEvent, TELL_NOBODY, type TellOfCargo } from '../../gateway/cargo/cargo-events.ts';
import { GatewayError, type TraceIds } from '../../gateway/errors.ts';
import { StoreError } from '../../gateway/ports.ts';
import type { CargoRelay, DeliverCargoCall } from './cargo-relay.ts';
import { HeldBackAcks } from './held-back-acks.ts';
import type { CargoDelivery } from './messages.ts';

/** Deployed couriers give a call 3 to 5 seconds, and find their next cargo within a fraction of one. */
const DEFAULT_QUIET = 300;

/**
 * The handler of the method.
 *
 * @param options.quiet for how long nothing must have come before the newest cargo is acknowledged, in milliseconds
 * @param options.tell told of what becomes of each cargo
 */
export function deliverCargo(
  delivery: CargoDoor,
  log: Logger,
  { quiet = DEFAULT_QUIET, tell = TELL_NOBODY }: { quiet?: number; tell?: TellOfCargo } = {},
): NonNullable<CargoRelay['deliverCargo']> {
  return (call) => new CargoReceiver(call, { delivery, log, tell }, quiet).start();
}

/** One call. */
class CargoReceiver {
  private readonly call: DeliverCargoCall;
  private readonly delivery: CargoDoor;
  private readonly log: Logger;
  private readonly tell: TellOfCargo;
  private readonly acks: HeldBackAcks;
  private inHand = 0;
  /** The courier said that nothing follows. */
  private isComplete = false;
  /** Cargo could not be stored: the call ends without its acknowledgement. */
  private hasFailed = false;
  private isOver = false;

  constructor(
    call: DeliverCargoCall,
    { delivery, log, tell }: { delivery: CargoDoor; log: Logger; tell: TellOfCargo },
    quiet: number,
  ) {
    this.call = call;
    this.delivery = delivery;
    this.log = log;
    this.tell = tell;
    this.acks = new HeldBackAcks((id) => {
      if (!this.isOver) {
        call.write({ id });
      }
    }, quiet);
  }

  start(): void {
    const { call } = this;
    // How much is read ahead is bounded where the calls are (`bounded-calls.ts`).
    call.on('data', (message: CargoDelivery) => void this.receive(message));
    call.on('end', () => {
      this.isComplete = true;
      this.endWhenDone();
    });
    call.on('cancelled', () => this.close());
    call.on('error', () => this.close());
  }

  /** Never rejects. */
  private async receive({ id, cargo }: CargoDelivery): Promise<void> {
    if (this.hasFailed || this.isOver) {
      return;
    }
    const mayAcknowledge = this.acks.begin(id);
    this.inHand++;
    const ids: TraceIds = { trace: randomUUID() };
    if (await this.isTaken(cargo, ids)) {
      mayAcknowledge();
    } else {
      this.hasFailed = true;
    }
    this.inHand--;
    this.endWhenDone();
  }

  /** Whether the courier need not carry the cargo any more. */
  private async isTaken(cargo: Buffer, ids: TraceIds): Promise<boolean> {
    const { log } = this;
    const began = performance.now();
    const tell = (event: CargoEvent['event'], code?: string) =>
      this.tell({ event, ids, took: performance.now() - began, ...(code !== undefined && { code }) });
    try {
      await this.delivery.deliver(cargo, ids);
      log.info({ ...ids, size: cargo.length }, 'Cargo accepted');
      tell('accepted');
      return true;
    } catch (error) {
      if (error instanceof StoreError) {
        log.warn({ err: error, code: error.code, ...ids }, 'Cargo cannot be taken now');
        tell('not-now', error.code);
        return false;
      }
      if (error instanceof AwalaError || error instanceof GatewayError) {
        const { code, message } = error;
        const isForNow = code === 'CARGO_FULL';
        log.info({ code, reason: message, ...ids }, isForNow ? 'Cargo cannot be taken now' : 'Cargo refused');
        tell(isForNow ? 'not-now' : 'refused', code);
        return !isForNow;
      }
      log.error({ err: error, ...ids }, 'Cargo failed');
      tell('failed');
      return false;
    }
  }

  private endWhenDone(): void {
    if (this.inHand > 0 || this.isOver || !(this.isComplete || this.hasFailed)) {
      return;
    }
    // What was stored is acknowledged in any case.
    this.acks.finish();
    this.isOver = true;
    if (this.hasFailed) {
      this.call.emit('error', { code: status.UNAVAILABLE, details: 'Cargo cannot be stored now' });
    } else {
      this.call.end();
    }
  }

  private close(): void {
    this.isOver = true;
    this.acks.close();
  }
}
