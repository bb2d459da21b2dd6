/**
 * Keeps the number of rows of objects and of cookies bounded. What a removed row costs is told in
 * `object-rows.ts`.
 *
 *   rows of a kind
 *   ├─────────────────────── 7/8 ──── limit (rowsMax) ──▶
 *                             ▲          │
 *                             └──────────┘  a sweep: bucket after bucket loses its oldest rows, half or more
 *
 * A sweep ends at seven eighths of the limit, or when a whole round over the buckets removed nothing: then
 * the rows that are left belong to pinned or dirty objects. The next sweep begins when an eighth of the limit
 * has come on top of them.
 */
import { giveTurn } from '../../base/turns.ts';
import type { DirtyBatches } from '../dirty/batches.ts';
import type { Objects } from '../objects/objects.ts';
import { FLOOR_COUNT, floorBucketStart } from '../objects/volumes.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { AFTER_ALL_NAMES } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';

/** About how many rows one step looks at. It takes as many buckets as hold them. */
const STEP_ROWS = 256;
/** After this time, maintenance goes on with its other work, and the sweep in the background. */
const RUN_MS = 250;
/**
 * The smallest part of a bucket's rows that is removed. Sweeping a bucket drops the units of all objects
 * there that have no row, however few rows are removed.
 */
const PART_MIN = 0.5;
/**
 * The part of the limit that rows may reach which are only in memory, because the database cannot be written.
 */
const UNSAVED_PART_MAX = 0.25;

const KINDS = ['object', 'cookie'] as const;
type Kind = (typeof KINDS)[number];

export class RowSweep {
  readonly #rows: Rows;
  readonly #objects: Objects;
  readonly #dirty: DirtyBatches;
  readonly #rowsMax: number;
  /** The bucket at which the next sweep goes on. */
  readonly #next: Record<Kind, number> = { object: 0, cookie: 0 };
  /** How many rows the last sweep left because none of them may go. 0 when it reached its target. */
  readonly #left: Record<Kind, number> = { object: 0, cookie: 0 };
  /** How many unsaved rows had to stay when the others were last forgotten. */
  #unsavedLeft = 0;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor({ rows, settings }: CacheContext, objects: Objects, dirty: DirtyBatches) {
    this.#rows = rows;
    this.#objects = objects;
    this.#dirty = dirty;
    this.#rowsMax = settings.rowsMax;
  }

  /**
   * Sweeps if there are too many rows. Resolves when that is done, or after 250 ms; then the sweep goes on.
   */
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

  /**
   * Forgets unsaved rows when there are too many: while the database cannot be written, memory must stay
   * bounded.
   */
  boundUnsaved(): void {
    const { unsavedCount } = this.#rows;
    const limit = UNSAVED_PART_MAX * this.#rowsMax;
    // Rows that had to stay the last time would stay again, and each attempt drops the units of objects
    // without rows.
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
    // A database that cannot be read is reported by `Rows`. Its rows are swept another time.
    for (const kind of KINDS) await this.#sweep(kind).catch(() => undefined);
  }

  async #sweep(kind: Kind): Promise<void> {
    // Above what the last sweep had to leave, an eighth of the limit has to come first.
    const limit = Math.max(this.#rowsMax, this.#left[kind] + this.#rowsMax / 8);
    if (this.#rows.countMax(kind) <= limit) return;
    let count = this.#rows.recount(kind);
    if (count <= limit) return;
    const span = Math.min(FLOOR_COUNT, Math.max(1, Math.round((FLOOR_COUNT * STEP_ROWS) / count)));
    const target = (this.#rowsMax * 7) / 8;
    // How many buckets in succession have lost no row.
    let idle = 0;
    while (idle < FLOOR_COUNT && count > target && !this.#isClosed) {
      const from = this.#next[kind];
      const to = Math.min(FLOOR_COUNT, from + span);
      const part = Math.max(PART_MIN, 1 - target / count);
      const gone =
        kind === 'object' ? this.#sweepObjects(from, to, part) : this.#sweepCookies(from, to, part);
      // The database cannot be written now.
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
