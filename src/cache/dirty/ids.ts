/**
 * Numbers batches. Ids only go up, and none is used twice:
 *
 * - the database keeps an id above all that were used;
 * - where a power cut has undone that, the headers of batches have their ids;
 * - the first id of a cache is never below the clock.
 */
import { getU64, setU64, viewOf } from '../../base/bytes.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { Rows } from '../rows/rows.ts';

/** The database is asked this seldom. */
const IDS_AHEAD = 1024;
const CLOCK_MAX = 2 ** 48;

/** Whole milliseconds since 1970, whatever a clock says: ids have to leave room for those to come, and times have to be read again. */
export function clampClockMs(nowMs: number): number {
  return Math.floor(Math.min(CLOCK_MAX, Math.max(0, nowMs))) || 0;
}

export class BatchIds {
  readonly #rows: Rows;
  readonly #row: Uint8Array;
  #next: number;
  /** What the database has. */
  #saved = 0;

  constructor(rows: Rows, fingerprinter: Fingerprinter, nowMs: number) {
    this.#rows = rows;
    this.#row = fingerprinter.name('next batch');
    const saved = rows.get('setting', this.#row);
    const savedId = saved?.byteLength === 8 ? getU64(viewOf(saved), 0) : undefined;
    this.#next = Math.max(1, savedId ?? 1, clampClockMs(nowMs));
  }

  /** This one has been used. */
  skip(id: number): void {
    this.#next = Math.max(this.#next, id + 1);
  }

  take(): number {
    const id = this.#next;
    this.#next += 1;
    if (this.#next > this.#saved) {
      this.#saved = this.#next + IDS_AHEAD;
      const value = new Uint8Array(8);
      setU64(viewOf(value), 0, this.#saved);
      this.#rows.put('setting', this.#row, value);
    }
    return id;
  }
}
