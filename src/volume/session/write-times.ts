/** When a session wrote its objects: what tells whether gc may take them for garbage before they are committed. */
import type { Id } from '../../base/ids.ts';

/** The session forgets what it wrote longest ago when it knows of more objects than this. */
const TIMES_MAX = 65_536;

/** When this session last wrote each object, by its own clock. */
export class WriteTimes {
  readonly #times = new Map<Id, number>();

  note(id: Id, atMs: number): void {
    this.#times.delete(id);
    this.#times.set(id, atMs);
    for (const oldest of this.#times.keys()) {
      if (this.#times.size <= TIMES_MAX) break;
      this.#times.delete(oldest);
    }
  }

  /** Undefined for what this session has not written. */
  get(id: Id): number | undefined {
    return this.#times.get(id);
  }
}
