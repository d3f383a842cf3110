/**
 * The memory that the queues of all collections take together, bounded: anybody who may register can fill mailboxes and
 * open collections that take nothing out of them.
 *
 * When it is full, the queue that has sent nothing for longest is cut short; its collection lists again in its turn. So
 * whoever collects keeps its queue, and whoever only waits pays for the room.
 */

/** What the queues of a process may take, in octets. */
const DEFAULT_CAPACITY = 32 * 1024 * 1024;

export interface RoomUser {
  /** Gives back what can be listed again. */
  shrink(): void;
}

export class QueueRoom {
  private readonly capacity: number;
  private taken = 0;
  /** Those with something to give back; the one that has sent nothing for longest first. */
  private readonly users = new Set<RoomUser>();

  /** @param capacity in octets */
  constructor(capacity: number = DEFAULT_CAPACITY) {
    this.capacity = capacity;
  }

  /** Octets that are taken. */
  get size(): number {
    return this.taken;
  }

  /** Counts octets that are in memory; others are cut short where these are too many, or `user` itself. */
  take(user: RoomUser, octets: number): void {
    this.taken += octets;
    this.users.add(user);
    for (const longest of this.users) {
      if (this.taken <= this.capacity) {
        return;
      }
      this.users.delete(longest);
      longest.shrink();
    }
  }

  give(octets: number): void {
    this.taken -= octets;
  }

  /** This one has sent something. */
  touch(user: RoomUser): void {
    if (this.users.delete(user)) {
      this.users.add(user);
    }
  }

  /** This one has nothing any more. */
  leave(user: RoomUser): void {
    this.users.delete(user);
  }
}
