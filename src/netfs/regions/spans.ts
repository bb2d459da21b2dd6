/**
 * A set of bytes, as sorted ranges: the exact dirty bytes of one unit.
 *
 * All numbers are offsets in the unit, in bytes; ranges are half-open. Nothing here knows how long a unit is.
 *
 * Invariants
 *   1. Ranges are ascending, not empty, and do not touch: [0, 4) and [4, 8) are [0, 8).
 *   2. `byteCount` is the sum of their lengths.
 */
import { NetsealError } from '../../base/errors.ts';
import { KIB } from '../../base/geometry.ts';

/** A range of bytes. */
export interface ByteRange {
  readonly fromBytes: number;
  readonly toBytes: number;
}

/** What spans are rounded out to when a unit has too many. */
export const ROUNDED_BYTES: number = 4 * KIB;

/** How many spans a unit may have for each 256 KiB of its size, and how many it may have at least. */
const SPANS_PER_256K = 128;
const SPANS_MIN = 8;

/** Returns how many spans a unit may have before they must be rounded out. */
export function spansMax(unitSizeBytes: number): number {
  return Math.max(SPANS_MIN, (SPANS_PER_256K * unitSizeBytes) / (256 * KIB));
}

export class Spans {
  /** From, to, from, to, ... */
  #bounds: number[] = [];
  #byteCount = 0;

  /** Returns a set of these ranges, which may overlap and come in any order. */
  static of(...ranges: readonly (readonly [fromBytes: number, toBytes: number])[]): Spans {
    const spans = new Spans();
    for (const [from, to] of ranges) spans.add(from, to);
    return spans;
  }

  /** The number of ranges. */
  get count(): number {
    return this.#bounds.length / 2;
  }

  get byteCount(): number {
    return this.#byteCount;
  }

  get isEmpty(): boolean {
    return this.#bounds.length === 0;
  }

  /** The end of the last range; 0 when there is none. */
  get endBytes(): number {
    return this.#bounds.at(-1) ?? 0;
  }

  /** Adds [from, to). An empty range adds nothing. */
  add(fromBytes: number, toBytes: number): void {
    if (fromBytes >= toBytes) return;
    const bounds = this.#bounds;
    const last = bounds.length - 2;
    const lastFrom = bounds[last];
    const lastTo = bounds[last + 1];
    if (lastFrom === undefined || lastTo === undefined || fromBytes > lastTo) {
      // The common case: behind all others, as in a file that is written from front to end.
      bounds.push(fromBytes, toBytes);
      this.#byteCount += toBytes - fromBytes;
    } else if (fromBytes >= lastFrom) {
      if (toBytes <= lastTo) return;
      bounds[last + 1] = toBytes;
      this.#byteCount += toBytes - lastTo;
    } else {
      // Ranges that touch the new one become a part of it.
      const first = this.#firstEndingAtOrAfter(fromBytes);
      const end = this.#firstBeginningAfter(toBytes);
      const from = first < end ? Math.min(fromBytes, at(bounds, first)) : fromBytes;
      const to = first < end ? Math.max(toBytes, at(bounds, end - 1)) : toBytes;
      this.#replace(first, end, [from, to]);
    }
  }

  /** Removes [from, to). */
  subtract(fromBytes: number, toBytes: number): void {
    if (fromBytes >= toBytes) return;
    const bounds = this.#bounds;
    const first = this.#firstEndingAtOrAfter(fromBytes + 1);
    const end = this.#firstBeginningAfter(toBytes - 1);
    if (first >= end) return;
    const kept: number[] = [];
    const from = at(bounds, first);
    const to = at(bounds, end - 1);
    if (from < fromBytes) kept.push(from, fromBytes);
    if (to > toBytes) kept.push(toBytes, to);
    this.#replace(first, end, kept);
  }

  addAll(other: Spans): void {
    for (const { fromBytes, toBytes } of other) this.add(fromBytes, toBytes);
  }

  subtractAll(other: Spans): void {
    for (const { fromBytes, toBytes } of other) this.subtract(fromBytes, toBytes);
  }

  /** True when all of [from, to) is in the set. An empty range is. */
  covers(fromBytes: number, toBytes: number): boolean {
    if (fromBytes >= toBytes) return true;
    const first = this.#firstEndingAtOrAfter(fromBytes + 1);
    const from = this.#bounds[first];
    return from !== undefined && from <= fromBytes && at(this.#bounds, first + 1) >= toBytes;
  }

  /** True when a byte of [from, to) is in the set. */
  overlaps(fromBytes: number, toBytes: number): boolean {
    if (fromBytes >= toBytes) return false;
    const from = this.#bounds[this.#firstEndingAtOrAfter(fromBytes + 1)];
    return from !== undefined && from < toBytes;
  }

  /** Returns what of [from, to) is not in the set, ascending. */
  gaps(fromBytes: number, toBytes: number): ByteRange[] {
    const gaps: ByteRange[] = [];
    let next = fromBytes;
    for (let index = this.#firstEndingAtOrAfter(fromBytes + 1); next < toBytes; index += 2) {
      const from = Math.min(this.#bounds[index] ?? toBytes, toBytes);
      if (from > next) gaps.push({ fromBytes: next, toBytes: from });
      next = Math.max(next, this.#bounds[index + 1] ?? toBytes);
    }
    return gaps;
  }

  /** The ranges, ascending. The set must not change meanwhile. */
  *[Symbol.iterator](): Generator<ByteRange, void, undefined> {
    for (let index = 0; index < this.#bounds.length; index += 2) {
      yield { fromBytes: at(this.#bounds, index), toBytes: at(this.#bounds, index + 1) };
    }
  }

  clear(): void {
    this.#bounds = [];
    this.#byteCount = 0;
  }

  clone(): Spans {
    const copy = new Spans();
    copy.#bounds = [...this.#bounds];
    copy.#byteCount = this.#byteCount;
    return copy;
  }

  /**
   * Rounds every range out to `granuleBytes`, though not beyond `endBytes`. The bytes that this adds become
   * dirty, so the caller must have them.
   */
  roundOut(granuleBytes: number, endBytes: number): void {
    const before = this.#bounds;
    this.#bounds = [];
    this.#byteCount = 0;
    for (let index = 0; index < before.length; index += 2) {
      const from = at(before, index);
      const to = at(before, index + 1);
      const roundedTo = Math.ceil(to / granuleBytes) * granuleBytes;
      this.add(from - (from % granuleBytes), Math.max(to, Math.min(roundedTo, endBytes)));
    }
  }

  /** Throws EBUG when an invariant does not hold. */
  assertInvariants(): void {
    let sum = 0;
    let before = -1;
    for (const { fromBytes, toBytes } of this) {
      if (fromBytes <= before || toBytes <= fromBytes) {
        throw new NetsealError('EBUG', `spans: [${fromBytes}, ${toBytes}) after ${before}`);
      }
      before = toBytes;
      sum += toBytes - fromBytes;
    }
    if (sum !== this.#byteCount) {
      throw new NetsealError('EBUG', `spans: ${sum} bytes, counted ${this.#byteCount}`);
    }
  }

  /** Puts `bounds` in the place of the ranges from index `first` to `end`. */
  #replace(first: number, end: number, bounds: readonly number[]): void {
    for (let index = first; index < end; index += 2) this.#byteCount -= length(this.#bounds, index);
    for (let index = 0; index < bounds.length; index += 2) this.#byteCount += length(bounds, index);
    this.#bounds.splice(first, end - first, ...bounds);
  }

  /** Returns the index in `#bounds` of the first range whose end is `offset` or more. */
  #firstEndingAtOrAfter(offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (at(this.#bounds, 2 * middle + 1) < offset) low = middle + 1;
      else high = middle;
    }
    return 2 * low;
  }

  /** Returns the index in `#bounds` of the first range that begins after `offset`. */
  #firstBeginningAfter(offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (at(this.#bounds, 2 * middle) <= offset) low = middle + 1;
      else high = middle;
    }
    return 2 * low;
  }
}

function at(bounds: readonly number[], index: number): number {
  const bound = bounds[index];
  if (bound === undefined) throw new NetsealError('EBUG', `spans: no bound ${index} of ${bounds.length}`);
  return bound;
}

function length(bounds: readonly number[], index: number): number {
  return at(bounds, index + 1) - at(bounds, index);
}
