/** The journal: what is remembered of a message's way, for operators. A port, as those in `ports.ts`. */

/** What may happen to a message on its way. */
export type JournalEvent =
  /** A door took it: it is durable, at `place`. */
  | 'accepted'
  /** A door did not take it: `code`, `reason`. */
  | 'refused'
  /** It was held, and is in its mailbox now. */
  | 'moved'
  /** It was sent to a private gateway that collects. */
  | 'sent'
  /** It left in a cargo, by a courier. */
  | 'loaded'
  /** The private gateway that it is for has it: the end of its way. */
  | 'acknowledged'
  /** The Internet node that it is for has it: the end of its way. */
  | 'sent-on'
  /** The Internet node did not take it (`code`, `reason`); it is tried again at `next`. */
  | 'postponed'
  /** It will never be sent on: `code`, `reason`. */
  | 'given-up'
  /** The operator took it away. */
  | 'dropped';

/** One event, with the ids that trace the message and what else is known. Never a payload, a key or a credential. */
export interface JournalEntry {
  readonly event: JournalEvent;
  /** The id of the request, or of the cargo, that brought it. */
  readonly trace: string;
  /** RAMF message id. */
  readonly parcel?: string;
  /** RAMF message id of the cargo that it came in. */
  readonly cargo?: string;
  /** Node id of the sending endpoint. */
  readonly sender?: string;
  /** Node id of the receiving endpoint. */
  readonly recipient?: string;
  /** Node id of the private gateway that sent or collects it. */
  readonly peer?: string;
  /** By which way it came or went, e.g. `poweb`, `pohttp`, `cargo`. */
  readonly door?: string;
  readonly place?: 'mailbox' | 'outbox' | 'held';
  /** Node id of the private gateway whose mailbox it is for. */
  readonly mailbox?: string;
  /** The Internet address that it is for. */
  readonly destination?: string;
  /** Until when it may wait, in milliseconds. */
  readonly expiry?: number;
  /** Octets. */
  readonly size?: number;
  /** Of a refusal or a failure: the same codes as in the log. */
  readonly code?: string;
  /** Of a refusal or a failure, for people; without anything secret. */
  readonly reason?: string;
  /** When it is tried next, in milliseconds. */
  readonly next?: number;
  /** How long the step itself took, in milliseconds: the door's, or an attempt's. */
  readonly took?: number;
  /** How long it had waited here before it left, in milliseconds. */
  readonly waited?: number;
  /** Of an attempt: whether the Internet node was well before, or is new or failing and `trial` shows it. */
  readonly standing?: 'proven' | 'trial';
}

/** Remembers what happened to messages, for operators: bounded, best effort, the oldest forgotten first. */
export interface Journal {
  /** Notes an event at the present. Never throws and never waits; where there is no room, the event is lost. */
  record(entry: JournalEntry): void;

  /** What is known of messages with this RAMF message id or trace id, oldest first, with the time in milliseconds. */
  find(id: string): Promise<(JournalEntry & { readonly time: number })[]>;
}
