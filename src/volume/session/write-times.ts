/**
 * Remembers when a session wrote its objects: old ones are rewritten before a commit, see `keep-young.ts`.
 */
import type { Id } from '../../base/ids.ts';

/** Beyond so many objects, those that were written longest ago are forgotten. */
const TIMES_MAX = 65_536;

export class WriteTimes {
  readonly #times = new Map<Id, number>();
  #hasForgotten = false;

  /** Whether any object that this session wrote may be missing here. */
  get hasForgotten(): boolean {
    return this.#hasForgotten;
  }

  note(id: Id, atMs: number): void {
    this.#times.delete(id);
    this.#times.set(id, atMs);
    for (const oldest of this.#times.keys()) {
      if (this.#times.size <= TIMES_MAX) break;
      this.#times.delete(oldest);
      this.#hasForgotten = true;
    }
  }

  /**
   * Returns when the session last wrote an object, by its own clock; undefined if it has not, or has
   * forgotten.
   */
  get(id: Id): number | undefined {
    return this.#times.get(id);
  }
}
