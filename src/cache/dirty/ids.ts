/**
 * Numbers batches. Ids only go up, and none is used twice. The first id of an opening is above all of these:
 *
 * - the id in the database, which is above all that were used when it was written;
 * - the ids in batch headers and in rows of released batches, in case a power cut has undone that write;
 * - the clock, in ms since 1970, in case all of that was lost.
 */
import { getU64, setU64, viewOf } from '../../base/bytes.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { Rows } from '../rows/rows.ts';

/** An id this far ahead is saved, so that one write to the database serves this many ids. */
const IDS_AHEAD = 1024;
const CLOCK_MAX = 2 ** 48;

/**
 * Returns a time as whole milliseconds since 1970, from 0 to 2^48. A clock may say anything; but ids must
 * leave room for later ones, and times must be encodable.
 */
export function clampClockMs(nowMs: number): number {
  return Math.floor(Math.min(CLOCK_MAX, Math.max(0, nowMs))) || 0;
}

export class BatchIds {
  readonly #rows: Rows;
  readonly #row: Uint8Array;
  #next: number;
  /** The id that this opening has saved in the database. */
  #saved = 0;

  constructor(rows: Rows, fingerprinter: Fingerprinter, nowMs: number) {
    this.#rows = rows;
    this.#row = fingerprinter.name('next batch');
    const saved = rows.get('setting', this.#row);
    const savedId = saved?.byteLength === 8 ? getU64(viewOf(saved), 0) : undefined;
    this.#next = Math.max(1, savedId ?? 1, clampClockMs(nowMs));
  }

  /** Notes that an id was used: later ones are higher. */
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
