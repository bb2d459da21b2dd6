/**
 * What is dirty in each unit of a file, and what of it is on its way to the server.
 *
 * Invariants
 *   1. A unit has at most one dirty region. Its group is that of the last write into it.
 *   2. At most one flush of a unit is `copied`. It is the newest of the unit's flushes.
 *   3. Of the flushes of a unit that are `placed`, only the newest has spans.
 *   4. Counters are the sums over all regions and flushes.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Receipt } from '../server.ts';
import type { DirtyRegion, Flush, FlushState, Group } from './region.ts';
import { Spans } from './spans.ts';

export class DirtyUnits {
  readonly #unitSizeBytes: number;
  readonly #regions = new Map<number, DirtyRegion>();
  /** By unit, oldest first. */
  readonly #flushes = new Map<number, Flush[]>();
  #spanCount = 0;
  #dirtyBytes = 0;
  #flushCount = 0;

  constructor(unitSizeBytes: number) {
    this.#unitSizeBytes = unitSizeBytes;
  }

  /** Units with dirty bytes. */
  get regionCount(): number {
    return this.#regions.size;
  }

  get flushCount(): number {
    return this.#flushCount;
  }

  /** The spans of all regions and flushes. */
  get spanCount(): number {
    return this.#spanCount;
  }

  /** Bytes that lie in pages only. */
  get dirtyBytes(): number {
    return this.#dirtyBytes;
  }

  get(unit: number): DirtyRegion | undefined {
    return this.#regions.get(unit);
  }

  /** The flush of this unit that is copied and not placed; undefined when there is none. */
  unplaced(unit: number): Flush | undefined {
    const newest = this.#flushes.get(unit)?.at(-1);
    return newest?.state === 'copied' ? newest : undefined;
  }

  /** Makes [fromBytes, toBytes) of the file dirty, in the regions of their units. */
  add(group: Group, fromBytes: number, toBytes: number): void {
    const unitSizeBytes = this.#unitSizeBytes;
    let at = fromBytes;
    while (at < toBytes) {
      const unit = Math.floor(at / unitSizeBytes);
      const startBytes = unit * unitSizeBytes;
      const end = Math.min(toBytes, startBytes + unitSizeBytes);
      const region = this.obtain(unit, group);
      this.#changeRegion(region, spans => spans.add(at - startBytes, end - startBytes));
      at = end;
    }
  }

  /** Returns the unit's dirty region, and makes an empty one in `group` when there is none. */
  obtain(unit: number, group: Group): DirtyRegion {
    const before = this.#regions.get(unit);
    if (before !== undefined) {
      if (before.group !== group) throw new NetsealError('EBUG', `unit ${unit} is dirty in another group`);
      return before;
    }
    const region: DirtyRegion = {
      unit,
      group,
      spans: new Spans(),
      zeroFromBytes: Number.POSITIVE_INFINITY,
    };
    this.#regions.set(unit, region);
    group.dirty.add(region);
    return region;
  }

  /** Drops a region with its bytes. */
  drop(region: DirtyRegion): void {
    this.#regions.delete(region.unit);
    region.group.dirty.delete(region);
    this.#spanCount -= region.spans.count;
    this.#dirtyBytes -= region.spans.byteCount;
  }

  /** Cuts a region: what lies at or beyond `offsetBytes` of the unit is zeros. */
  cut(region: DirtyRegion, offsetBytes: number): void {
    this.#changeRegion(region, spans => spans.subtract(offsetBytes, this.#unitSizeBytes));
    region.zeroFromBytes = Math.min(region.zeroFromBytes, offsetBytes);
  }

  /** Rounds the region's spans out to `granuleBytes`, not beyond `endBytes` of the unit. */
  roundOut(region: DirtyRegion, granuleBytes: number, endBytes: number): void {
    this.#changeRegion(region, spans => spans.roundOut(granuleBytes, endBytes));
  }

  /** Turns a dirty region into a flush. The caller copies its bytes in this turn. */
  copy(region: DirtyRegion): Flush {
    const { unit, group, spans, zeroFromBytes } = region;
    if (this.unplaced(unit) !== undefined) {
      throw new NetsealError('EBUG', `unit ${unit} is flushed twice at once`);
    }
    this.#regions.delete(unit);
    group.dirty.delete(region);
    this.#dirtyBytes -= spans.byteCount;
    const flush: Flush = {
      unit,
      group,
      spans,
      zeroFromBytes,
      cutAgainBytes: zeroFromBytes,
      state: 'copied',
      receipt: undefined,
      isBaseLost: false,
      isCutOff: false,
    };
    const ofUnit = this.#flushes.get(unit);
    if (ofUnit === undefined) this.#flushes.set(unit, [flush]);
    else ofUnit.push(flush);
    this.#flushCount += 1;
    group.flushes.add(flush);
    group.unplacedCount += 1;
    return flush;
  }

  /**
   * Enters the record of a copied flush in its group's layer. It takes over the spans of the unit's older
   * flushes: those bytes are in its record, so they become dirty again only if this one fails.
   */
  place(flush: Flush, receipt: Receipt | undefined): void {
    for (const older of this.#flushes.get(flush.unit) ?? []) {
      if (older === flush) continue;
      this.#spanCount -= older.spans.count;
      this.#changeFlush(flush, spans => spans.addAll(older.spans));
      flush.cutAgainBytes = Math.min(flush.cutAgainBytes, older.cutAgainBytes);
      older.spans.clear();
      older.cutAgainBytes = Number.POSITIVE_INFINITY;
    }
    flush.state = 'placed';
    flush.receipt = receipt;
    flush.group.unplacedCount -= 1;
    flush.group.layer.place(flush.unit, receipt);
  }

  /** Forgets a flush that has ended. Its spans stay readable, for whoever cleans pages. */
  end(flush: Flush, state: FlushState): void {
    if (flush.state === 'copied') flush.group.unplacedCount -= 1;
    flush.state = state;
    flush.group.flushes.delete(flush);
    const ofUnit = this.#flushes.get(flush.unit) ?? [];
    if (ofUnit.length === 1) this.#flushes.delete(flush.unit);
    else ofUnit.splice(ofUnit.indexOf(flush), 1);
    this.#flushCount -= 1;
    this.#spanCount -= flush.spans.count;
  }

  /**
   * Ends a flush that has failed: its bytes are dirty again. If a newer flush of the unit is under way, its
   * spans take them over, because its record holds these bytes, or is made from a base that does.
   */
  redirty(flush: Flush): void {
    const isLost = flush.state === 'placed';
    this.end(flush, 'failed');
    const { unit, group, spans, cutAgainBytes } = flush;
    const newer = this.unplaced(unit);
    if (newer !== undefined) {
      this.#changeFlush(newer, mine => mine.addAll(spans));
      newer.cutAgainBytes = Math.min(newer.cutAgainBytes, cutAgainBytes);
      newer.isBaseLost ||= isLost;
      return;
    }
    if (spans.isEmpty && cutAgainBytes === Number.POSITIVE_INFINITY) return;
    const region = this.#regions.get(unit) ?? this.obtain(unit, group);
    this.#changeRegion(region, mine => mine.addAll(spans));
    region.zeroFromBytes = Math.min(region.zeroFromBytes, cutAgainBytes);
  }

  /** Removes what a truncate has cut off the unit from what a failure would make dirty. */
  cutFlush(flush: Flush, offsetBytes: number): void {
    this.#changeFlush(flush, spans => spans.subtract(offsetBytes, this.#unitSizeBytes));
  }

  /** Notes that a truncate of a later group has removed the unit: a failure makes nothing dirty. */
  cutOffFlush(flush: Flush): void {
    this.#changeFlush(flush, spans => spans.clear());
    flush.cutAgainBytes = Number.POSITIVE_INFINITY;
    flush.isCutOff = true;
  }

  /** True when a byte of [fromBytes, toBytes) of the file is not durable anywhere but in pages. */
  isDirty(fromBytes: number, toBytes: number): boolean {
    for (let unit = Math.floor(fromBytes / this.#unitSizeBytes); ; unit += 1) {
      const startBytes = unit * this.#unitSizeBytes;
      if (startBytes >= toBytes) return false;
      const from = Math.max(0, fromBytes - startBytes);
      const to = Math.min(this.#unitSizeBytes, toBytes - startBytes);
      if (this.#regions.get(unit)?.spans.overlaps(from, to) === true) return true;
      if (this.#flushes.get(unit)?.some(({ spans }) => spans.overlaps(from, to)) === true) return true;
    }
  }

  /** Returns the bytes of the unit that are not durable anywhere but in pages. The set is the caller's. */
  keptSpans(unit: number): Spans {
    const kept = this.#regions.get(unit)?.spans.clone() ?? new Spans();
    for (const { spans } of this.#flushes.get(unit) ?? []) kept.addAll(spans);
    return kept;
  }

  /** True when the unit has dirty bytes, or a flush that has not ended and whose group is not committed. */
  hasUncommitted(unit: number): boolean {
    if (this.#regions.has(unit)) return true;
    return this.#flushes.get(unit)?.some(({ group }) => group.state !== 'committed') === true;
  }

  /** The offset in the unit from which its base counts as zeros; infinity when nothing is cut. */
  zeroFromBytes(unit: number): number {
    return Math.min(
      this.#regions.get(unit)?.zeroFromBytes ?? Number.POSITIVE_INFINITY,
      this.unplaced(unit)?.cutAgainBytes ?? Number.POSITIVE_INFINITY,
    );
  }

  /** Throws EBUG when an invariant does not hold. */
  assertInvariants(): void {
    const regions = [...this.#regions.values()];
    const flushes = [...this.#flushes.values()].flat();
    for (const region of regions) this.#assertRegion(region);
    for (const ofUnit of this.#flushes.values()) assertFlushes(ofUnit);
    const spanCount = [...regions, ...flushes].reduce((sum, { spans }) => sum + spans.count, 0);
    const dirtyBytes = regions.reduce((sum, { spans }) => sum + spans.byteCount, 0);
    const isCounted = spanCount === this.#spanCount && dirtyBytes === this.#dirtyBytes;
    if (!isCounted || flushes.length !== this.#flushCount) fail('counters');
  }

  #assertRegion(region: DirtyRegion): void {
    const { unit, group, spans, zeroFromBytes } = region;
    spans.assertInvariants();
    if (this.#regions.get(unit) !== region || !group.dirty.has(region)) fail(`the region of unit ${unit}`);
    const hasReason = !spans.isEmpty || zeroFromBytes < this.#unitSizeBytes;
    if (!hasReason || spans.endBytes > this.#unitSizeBytes) fail(`what is dirty in unit ${unit}`);
  }

  #changeRegion({ spans }: DirtyRegion, change: (spans: Spans) => void): void {
    this.#spanCount -= spans.count;
    this.#dirtyBytes -= spans.byteCount;
    change(spans);
    this.#spanCount += spans.count;
    this.#dirtyBytes += spans.byteCount;
  }

  #changeFlush({ spans }: Flush, change: (spans: Spans) => void): void {
    this.#spanCount -= spans.count;
    change(spans);
    this.#spanCount += spans.count;
  }
}

/** Asserts what holds for the flushes of one unit, oldest first. */
function assertFlushes(flushes: readonly Flush[]): void {
  for (const [at, flush] of flushes.entries()) {
    const { unit, state, spans, group } = flush;
    spans.assertInvariants();
    const isLive = state === 'placed' || (state === 'copied' && at === flushes.length - 1);
    if (!isLive || !group.flushes.has(flush)) fail(`a flush of unit ${unit} is ${state}`);
    if (flushes[at + 1]?.state === 'placed' && !spans.isEmpty) fail(`two records of unit ${unit} have spans`);
  }
}

function fail(what: string): never {
  throw new NetsealError('EBUG', `dirty units: ${what}`);
}
