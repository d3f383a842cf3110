/**
 * Walks around the groups of work that are due, so that each has its turn.
 */
import type { QueueName } from '../../gateway/ports.ts';
import type { StoreFiles } from './store-files.ts';

const PAGE = 256;

/** Groups that one walk looks at, at most; the next one goes on from there. */
const MOST_SEEN = 4096;

/** A place in the order of due groups. */
interface Place {
  readonly due: number;
  readonly id: number;
}

const START: Place = { due: -1, id: 0 };

export class DueGroups {
  private readonly files: StoreFiles;
  private readonly places = new Map<QueueName, Place>();

  constructor(files: StoreFiles) {
    this.files = files;
  }

  /**
   * Gives the due groups, from behind the last one that was given, once around at most.
   *
   * @param now whole milliseconds
   */
  async *walk(queue: QueueName, now: number): AsyncGenerator<string> {
    const start = this.places.get(queue) ?? START;
    let place = start;
    let hasWrapped = start === START;
    for (let seen = 0; seen < MOST_SEEN; ) {
      const page = await this.files.read(
        'records',
        `SELECT id, grp, due FROM work_groups WHERE queue = ? AND (due, id) > (?, ?) AND due <= ?
         ORDER BY due, id LIMIT ${PAGE}`,
        queue,
        place.due,
        place.id,
        now,
      );
      for (const { id, grp, due } of page) {
        place = { due: due as number, id: id as number };
        if (hasWrapped && start !== START && isAfter(place, start)) {
          return;
        }
        this.places.set(queue, place);
        yield grp as string;
      }
      seen += page.length;
      if (page.length < PAGE) {
        if (hasWrapped) {
          return;
        }
        hasWrapped = true;
        place = START;
      }
    }
  }
}

function isAfter(one: Place, other: Place): boolean {
  return one.due > other.due || (one.due === other.due && one.id > other.id);
}
