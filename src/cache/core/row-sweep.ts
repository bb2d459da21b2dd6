/**
 * Keeps rows of objects and cookies from growing without bound. Above the limit, buckets of rows lose their oldest, half of them
 * or more, one after another, in steps of a few milliseconds, until an eighth of the limit is free again.
 */
import { giveTurn } from '../../base/turns.ts';
import type { DirtyBatches } from '../dirty/batches.ts';
import type { Objects } from '../objects/objects.ts';
import { FLOOR_COUNT, floorBucketStart } from '../objects/volumes.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { AFTER_ALL_NAMES } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';

const STEP_ROWS = 256;
/** The other work of maintenance gets its turn after so long. */
const RUN_MS = 250;
/** Less would cost those that have no row more than it brings. */
const PART_MIN = 0.5;
/** Of the limit: rows that are only in memory, as the database cannot be written. */
const UNSAVED_PART_MAX = 0.25;

const KINDS = ['object', 'cookie'] as const;
type Kind = (typeof KINDS)[number];

export class RowSweep {
  readonly #rows: Rows;
  readonly #objects: Objects;
  readonly #dirty: DirtyBatches;
  readonly #rowsMax: number;
  /** The bucket to go on with. */
  readonly #next: Record<Kind, number> = { object: 0, cookie: 0 };
  /** How many rows there were after a sweep that found no more that may go. */
  readonly #left: Record<Kind, number> = { object: 0, cookie: 0 };
  /** Rows that had to stay in memory when others were forgotten. */
  #unsavedLeft = 0;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor({ rows, settings }: CacheContext, objects: Objects, dirty: DirtyBatches) {
    this.#rows = rows;
    this.#objects = objects;
    this.#dirty = dirty;
    this.#rowsMax = settings.rowsMax;
  }

  /** Begins when there is something to do. Resolves when that is done, or a while later, and it goes on. */
  async run(): Promise<void> {
    this.#running ??= this.#sweepAll().finally(() => {
      this.#running = undefined;
    });
    let timer: NodeJS.Timeout | undefined;
    const wait = new Promise<void>(resolve => {
      timer = setTimeout(resolve, RUN_MS);
    });
    await Promise.race([this.#running, wait]);
    clearTimeout(timer);
  }

  /** While nothing can be written, what was invalidated and named is not kept in memory without bound. */
  boundUnsaved(): void {
    const { unsavedCount } = this.#rows;
    const limit = UNSAVED_PART_MAX * this.#rowsMax;
    // What stayed the last time stays again, and each time costs objects that have no row.
    if (unsavedCount <= limit) this.#unsavedLeft = 0;
    if (unsavedCount <= limit + this.#unsavedLeft) return;
    this.#objects.forgetUnsaved(key => this.#dirty.hasObject(key));
    this.#unsavedLeft = this.#rows.unsavedCount;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }

  async #sweepAll(): Promise<void> {
    // Rows that cannot be read now are swept another time; who keeps them has told so.
    for (const kind of KINDS) await this.#sweep(kind).catch(() => undefined);
  }

  async #sweep(kind: Kind): Promise<void> {
    // Where all that may go went and it was not enough, some more have to come first.
    const limit = Math.max(this.#rowsMax, this.#left[kind] + this.#rowsMax / 8);
    if (this.#rows.countMax(kind) <= limit) return;
    let count = this.#rows.recount(kind);
    if (count <= limit) return;
    const span = Math.min(FLOOR_COUNT, Math.max(1, Math.round((FLOOR_COUNT * STEP_ROWS) / count)));
    const target = (this.#rowsMax * 7) / 8;
    // What stays when nothing went all the way round is pinned or dirty.
    let idle = 0;
    while (idle < FLOOR_COUNT && count > target && !this.#isClosed) {
      const from = this.#next[kind];
      const to = Math.min(FLOOR_COUNT, from + span);
      const part = Math.max(PART_MIN, 1 - target / count);
      const gone =
        kind === 'object' ? this.#sweepObjects(from, to, part) : this.#sweepCookies(from, to, part);
      // The next time, perhaps.
      if (gone === undefined) return;
      count -= gone;
      idle = gone > 0 ? 0 : idle + span;
      this.#next[kind] = to % FLOOR_COUNT;
      await giveTurn();
    }
    const left = this.#rows.recount(kind);
    this.#left[kind] = idle >= FLOOR_COUNT ? left : 0;
  }

  #sweepObjects(from: number, to: number, part: number): number | undefined {
    return this.#objects.sweepObjects(from, to, part, this.#rowsMax, key => this.#dirty.hasObject(key));
  }

  #sweepCookies(from: number, to: number, part: number): number | undefined {
    return this.#objects.sweepCookies(
      floorBucketStart(from),
      to >= FLOOR_COUNT ? AFTER_ALL_NAMES : floorBucketStart(to),
      part,
    );
  }
}
