/**
 * Keeps rows of objects and cookies from growing without bound. Above the limit, buckets of rows lose their older half one after
 * another, in steps of a few milliseconds, until an eighth of the limit is free again.
 */
import type { Dirty } from './dirty.ts';
import type { Objects } from './objects.ts';
import { LAST_NAME, type Records } from './records.ts';
import { FLOOR_COUNT, floorStart } from './volumes.ts';

const STEP_ROWS = 256;
/** The other work of maintenance gets its turn after so long. */
const RUN_MS = 250;

const KINDS = ['object', 'cookie'] as const;
type Kind = (typeof KINDS)[number];

export class RowSweep {
  readonly #records: Records;
  readonly #objects: Objects;
  readonly #dirty: Dirty;
  readonly #rowsMax: number;
  /** The bucket to go on with. */
  readonly #next: Record<Kind, number> = { object: 0, cookie: 0 };

  constructor(records: Records, objects: Objects, dirty: Dirty, rowsMax: number) {
    this.#records = records;
    this.#objects = objects;
    this.#dirty = dirty;
    this.#rowsMax = rowsMax;
  }

  async run(): Promise<void> {
    const endMs = performance.now() + RUN_MS;
    for (const kind of KINDS) await this.#sweep(kind, endMs);
  }

  async #sweep(kind: Kind, endMs: number): Promise<void> {
    if (this.#records.countMax(kind) <= this.#rowsMax) return;
    let count = this.#records.recount(kind);
    if (count <= this.#rowsMax) return;
    const span = Math.min(FLOOR_COUNT, Math.max(1, Math.round((FLOOR_COUNT * STEP_ROWS) / count)));
    const target = (this.#rowsMax * 7) / 8;
    // Once round at most: what stays is pinned or dirty.
    for (let done = 0; done < FLOOR_COUNT && count > target && performance.now() < endMs; done += span) {
      const from = this.#next[kind];
      const to = Math.min(FLOOR_COUNT, from + span);
      count -= kind === 'object' ? this.#sweepObjects(from, to) : this.#sweepCookies(from, to);
      this.#next[kind] = to % FLOOR_COUNT;
      await new Promise(resolve => setImmediate(resolve));
    }
    this.#records.recount(kind);
  }

  #sweepObjects(from: number, to: number): number {
    return this.#objects.sweepObjects(from, to, key => this.#dirty.hasObject(key));
  }

  #sweepCookies(from: number, to: number): number {
    return this.#objects.sweepCookies(floorStart(from), to >= FLOOR_COUNT ? LAST_NAME : floorStart(to));
  }
}
