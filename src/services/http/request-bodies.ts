/**
 * Request bodies: received within bounds on size, pace and the memory of all that are in flight.
 *
 * A body is in flight from its first octet until the door is done with it. What counts is the memory that it really
 * takes, which grows with what came: a client that announces much and sends little holds little.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { addressBlock } from './addresses.ts';
import { HttpError } from './http-error.ts';
import type { UploadPace } from './upload-pace.ts';

/** The first piece of memory for a body, in octets: most parcels fit into it, and are never copied again. */
const FIRST_CAPACITY = 64 * 1024;

/** By how much a body's memory grows when it is full. */
const GROWTH = 4;

/** How much of a refused body is read and thrown away, so that its client gets to read the answer, in octets. */
const DISCARD_OCTETS = 16 * 1024 * 1024;

/** How long that may take, in milliseconds. */
const DISCARD_TIME = 5000;

/** How many refused bodies are read to their end at once; in a flood of them, the others are cut. */
const MAX_DISCARDS = 32;

/** Where there is no room for a small body, those that have had so long to come are cut, the oldest first, in milliseconds. */
const LEAST_BODY_TIME = 2000;

/** A body that is not complete. */
export interface IncompleteBody {
  /** The neighbourhood that it comes from. */
  readonly block: string;
  /** When it began, on `performance.now`. */
  readonly since: number;
  /** Ends it, and gives its memory back at once. */
  cut(): void;
}

/** The memory that all bodies in flight may take, in this process. */
export class BodyBudget {
  readonly maxOctets: number;
  private octets = 0;
  private incomplete = 0;
  private readonly incompleteOfBlock = new Map<string, number>();
  /** Those who came first at the front. */
  private readonly bodies = new Set<IncompleteBody>();
  private readonly maxIncomplete: number;
  private readonly maxIncompletePerAddress: number;

  /**
   * @param parts.maxIncomplete what bodies may take that are not complete: until then all clients are strangers
   * @param parts.maxIncompletePerAddress the same of one neighbourhood (/24, /56)
   */
  constructor(maxOctets: number, parts: { maxIncomplete?: number; maxIncompletePerAddress?: number } = {}) {
    this.maxOctets = maxOctets;
    this.maxIncomplete = parts.maxIncomplete ?? maxOctets;
    this.maxIncompletePerAddress = parts.maxIncompletePerAddress ?? maxOctets;
  }

  /** Octets that bodies in flight take now. */
  get inFlight(): number {
    return this.octets;
  }

  /**
   * Whether a body of this neighbourhood may come: there is room, or some that are too slow will make room for it.
   *
   * @param block the neighbourhood that the body comes from
   */
  hasRoomFor(octets: number, block: string): boolean {
    return this.isFree(octets, block) || this.slowest(octets, block) !== undefined;
  }

  /** A body has begun to come. */
  begin(body: IncompleteBody): void {
    this.bodies.add(body);
  }

  /** A body comes no more. */
  end(body: IncompleteBody): void {
    this.bodies.delete(body);
  }

  private isFree(octets: number, block: string): boolean {
    return (
      this.octets + octets <= this.maxOctets &&
      this.incomplete + octets <= this.maxIncomplete &&
      !this.isOverShare(octets, block)
    );
  }

  private isOverShare(octets: number, block: string): boolean {
    return (this.incompleteOfBlock.get(block) ?? 0) + octets > this.maxIncompletePerAddress;
  }

  /** The oldest body that is in the way of a small one, unless it is young: large ones would only chase each other. */
  private slowest(octets: number, block: string, except?: IncompleteBody): IncompleteBody | undefined {
    if (octets > FIRST_CAPACITY) {
      return undefined;
    }
    const ofBlock = this.isOverShare(octets, block);
    for (const body of this.bodies) {
      if (body !== except && (!ofBlock || body.block === block)) {
        return performance.now() - body.since >= LEAST_BODY_TIME ? body : undefined;
      }
    }
    return undefined;
  }

  /**
   * @param body the one that grows
   * @throws HttpError BODIES_IN_FLIGHT, when there is no room
   */
  take(octets: number, block: string, body?: IncompleteBody): void {
    while (!this.isFree(octets, block)) {
      const slowest = this.slowest(octets, block, body);
      if (!slowest) {
        throw tooManyInFlight();
      }
      this.bodies.delete(slowest);
      slowest.cut();
    }
    this.octets += octets;
    this.incomplete += octets;
    this.incompleteOfBlock.set(block, (this.incompleteOfBlock.get(block) ?? 0) + octets);
  }

  /** The body of so many octets is complete, or given up: it is now in hand. */
  settle(octets: number, block: string): void {
    this.incomplete -= octets;
    const left = (this.incompleteOfBlock.get(block) ?? 0) - octets;
    if (left > 0) {
      this.incompleteOfBlock.set(block, left);
    } else {
      this.incompleteOfBlock.delete(block);
    }
  }

  release(octets: number): void {
    this.octets -= octets;
  }
}

export class RequestBodies {
  private readonly budget: BodyBudget;
  private readonly pace: UploadPace;
  private readonly addressOf: (message: IncomingMessage) => string;
  private discards = 0;
  /** Requests that wait for `100 Continue` before they send their body, with their responses. */
  private readonly expectant = new WeakMap<IncomingMessage, ServerResponse>();

  /** @param parts.addressOf tells the client's address */
  constructor(parts: { budget: BodyBudget; pace: UploadPace; addressOf: (message: IncomingMessage) => string }) {
    this.budget = parts.budget;
    this.pace = parts.pace;
    this.addressOf = parts.addressOf;
  }

  /**
   * Receives a request's body and hands it to `use`; its memory counts as in flight until that is done.
   *
   * @param limit octets that the body may have; a larger one is refused before it is read where its length is announced
   * @throws HttpError BODY_TOO_LARGE, BODIES_IN_FLIGHT, UPLOAD_TOO_SLOW, CLIENT_GONE; and what `use` throws
   */
  async receive<Result>(
    message: IncomingMessage,
    limit: number,
    use: (body: Buffer) => Result | Promise<Result>,
  ): Promise<Result> {
    const block = addressBlock(this.addressOf(message));
    const reception = new Reception(message, limit, block, this.budget, this.pace);
    try {
      this.sendContinue(message);
      return await use(await reception.complete());
    } finally {
      reception.release();
    }
  }

  /** Remembers that this client sends its body only when it is told to continue (`Expect: 100-continue`). */
  expect(message: IncomingMessage, response: ServerResponse): void {
    this.expectant.set(message, response);
  }

  /** Whether this client still waits for leave to send its body. */
  isExpectant(message: IncomingMessage): boolean {
    return message.headers.expect !== undefined && this.expectant.has(message);
  }

  /**
   * Reads and throws away what is left of a refused request's body, within bounds: closing the connection under a
   * client that still sends would lose the answer.
   *
   * @returns false when too many do so already
   */
  discardRest(message: IncomingMessage): boolean {
    if (this.discards >= MAX_DISCARDS) {
      return false;
    }
    this.discards++;
    let octets = 0;
    const cut = () => message.socket.destroy();
    const timer = setTimeout(cut, DISCARD_TIME).unref();
    message.on('data', (chunk: Buffer) => {
      octets += chunk.length;
      if (octets > DISCARD_OCTETS) {
        cut();
      }
    });
    message.on('close', () => {
      clearTimeout(timer);
      this.discards--;
    });
    message.on('error', cut);
    message.resume();
    return true;
  }

  close(): void {
    this.pace.close();
  }

  private sendContinue(message: IncomingMessage): void {
    if (this.isExpectant(message)) {
      this.expectant.get(message)?.writeContinue();
      this.expectant.delete(message);
    }
  }
}

/** One body on its way in. */
class Reception {
  private readonly message: IncomingMessage;
  private readonly limit: number;
  /** Octets announced by Content-Length; undefined for chunked bodies. */
  private readonly announced: number | undefined;
  /** The neighbourhood that it comes from. */
  private readonly block: string;
  private readonly budget: BodyBudget;
  private readonly pace: UploadPace;
  private buffer: Buffer = Buffer.alloc(0);
  private received = 0;
  private isIncomplete = true;
  private body: IncompleteBody | undefined;

  /** @throws HttpError BODY_TOO_LARGE, BODIES_IN_FLIGHT */
  constructor(message: IncomingMessage, limit: number, block: string, budget: BodyBudget, pace: UploadPace) {
    this.message = message;
    this.limit = limit;
    this.block = block;
    this.budget = budget;
    this.pace = pace;
    const contentLength = message.headers['content-length'];
    this.announced = contentLength === undefined ? undefined : Number(contentLength);
    if (this.announced !== undefined) {
      if (this.announced > limit) {
        throw this.tooLarge();
      }
      if (!budget.hasRoomFor(this.announced, block)) {
        throw tooManyInFlight();
      }
    }
  }

  /** Resolves with the whole body. */
  complete(): Promise<Buffer> {
    const { message } = this;
    if (message.destroyed) {
      return Promise.reject(clientGone());
    }
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.pace.forget(upload);
        this.budget.end(body);
        message.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone);
      };
      const fail = (error: unknown) => {
        settle();
        message.pause();
        reject(error);
      };
      const onData = (chunk: Buffer) => {
        try {
          this.append(chunk);
        } catch (error) {
          fail(error);
          return;
        }
        this.pace.progress(upload, chunk.length);
      };
      const onEnd = () => {
        settle();
        this.settle();
        resolve(this.buffer.length === this.received ? this.buffer : this.buffer.subarray(0, this.received));
      };
      const onGone = () => {
        settle();
        reject(clientGone());
      };
      const cut = () => fail(new HttpError('UPLOAD_TOO_SLOW', 503, 'Request comes too slowly'));
      const upload = this.pace.watch(cut);
      const body = {
        block: this.block,
        since: performance.now(),
        cut: () => {
          cut();
          this.release();
        },
      };
      this.body = body;
      this.budget.begin(body);
      message.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
    });
  }

  /** Gives the memory back. */
  release(): void {
    this.settle();
    this.budget.release(this.buffer.length);
    this.buffer = Buffer.alloc(0);
  }

  private settle(): void {
    if (this.isIncomplete) {
      this.isIncomplete = false;
      this.budget.settle(this.buffer.length, this.block);
    }
  }

  private append(chunk: Buffer): void {
    const received = this.received + chunk.length;
    if (received > this.limit) {
      throw this.tooLarge();
    }
    if (chunk.length === this.announced) {
      // All of it in one piece, which is nobody else's: the parser copied it out of what came.
      this.budget.take(chunk.length, this.block, this.body);
      this.buffer = chunk;
      this.received = received;
      return;
    }
    if (received > this.buffer.length) {
      this.grow(received);
    }
    chunk.copy(this.buffer, this.received);
    this.received = received;
  }

  private grow(needed: number): void {
    const wanted = Math.max(needed, this.buffer.length * GROWTH, FIRST_CAPACITY);
    const capacity = Math.min(wanted, this.announced ?? this.limit);
    this.budget.take(capacity - this.buffer.length, this.block, this.body);
    const larger = Buffer.allocUnsafe(capacity);
    this.buffer.copy(larger, 0, 0, this.received);
    this.buffer = larger;
  }

  private tooLarge(): HttpError {
    return new HttpError('BODY_TOO_LARGE', 413, `Body is larger than ${this.limit} octets`);
  }
}

function tooManyInFlight(): HttpError {
  return new HttpError('BODIES_IN_FLIGHT', 503, 'Too many requests are in hand');
}

function clientGone(): HttpError {
  return new HttpError('CLIENT_GONE', 400, 'Request was not completed');
}
