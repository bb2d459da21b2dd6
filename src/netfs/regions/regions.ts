/**
 * The regions of one open file: who writes where, what is dirty, what is on its way to the server, and what
 * is committed together. No I/O: every method is one step, done in one turn.
 *
 * A region begins as a writer's (a range of bytes) and goes on as its units' (the dirty bytes of a unit,
 * whoever wrote them): writers exclude each other by bytes, flushes take whole units.
 *
 *   writer:  pending ──▶ reserved ◀──▶ active ──▶ ended
 *               └─ aborted ◀┘
 *   unit:    dirty ──▶ flushing (copied ──▶ placed) ──▶ uploaded ──▶ complete
 *               └◀───────────── failed ─────┘
 *
 * | transition                  | by                          | when                                          |
 * | --------------------------- | --------------------------- | --------------------------------------------- |
 * | → pending                   | `reserve`                   |                                               |
 * | pending → reserved          | `reserve`; later whatever   | no earlier writer wants the same bytes, or    |
 * |                             | ends, copies or folds       | waits reserved in the same units              |
 * | reserved → active           | the same                    | nothing of a closed group is dirty, or being  |
 * |                             |                             | written, in its units                         |
 * | active → reserved           | `closeGroup`                | it has written nothing                        |
 * | pending, reserved → aborted | `abort`, a signal           |                                               |
 * | active → ended              | `end`, `truncate`,          |                                               |
 * |                             | `discard`                   |                                               |
 * | → dirty                     | `dirtied`, `writeNow`       | merges with what is dirty in the unit         |
 * | dirty → copied              | `beginFlush`                | no flush of the unit is copied and not placed |
 * | copied → placed             | `placed`                    | reads find the record                         |
 * | placed → uploaded           | `uploaded`                  | pages are clean, unless others use them       |
 * | copied, placed → failed     | `failed`                    | the bytes are dirty again                     |
 * | dirty → gone, and copied,   | `truncate`, `discard`       |                                               |
 * |   placed → dropped          |                             |                                               |
 * | uploaded → complete         | `committed`                 | the group's layer is the committed version    |
 *
 * The invariants stand where they are kept: `writers.ts`, `dirty-units.ts`, `groups.ts`, `layers.ts`.
 *
 * When a flush fails, its group cannot be committed as a whole any more. It and all later closed groups are
 * folded into the open one, and those who wait for them are told. The next commit publishes all of it
 * together.
 */
import { NetsealError } from '../../base/errors.ts';
import type { FileState, Receipt } from '../server.ts';
import { DirtyUnits } from './dirty-units.ts';
import { Groups, isEmpty, isPlaced, tellIfPlaced, whenPlaced } from './groups.ts';
import { Layers } from './layers.ts';
import type { DirtyRegion, Flush, Group, Writer, WriterType } from './region.ts';
import { ROUNDED_BYTES, type Spans, spansMax } from './spans.ts';
import { requireActive, Writers } from './writers.ts';

/**
 * What the records of regions and flushes, of spans and of receipts occupy in memory: measured with Node 24.
 */
const UNIT_RECORD_BYTES = 480;
const SPAN_BYTES = 16;
const RECEIPT_BYTES = 320;

const KNOWN_RECEIPTS_MAX = 16_384;

export interface RegionsOptions {
  readonly unitSizeBytes: number;
  /** The file as the server has it. */
  readonly committed: FileState;
  /** How many committed receipts are remembered. Default: 4096. */
  readonly knownReceiptsMax?: number;
  /** Checks all invariants after every step. Slow: for tests. */
  readonly isChecked?: boolean;
}

export class Regions {
  readonly unitSizeBytes: number;
  /** Which record each unit is. From outside only `learn`, `forget` and `rebase` change it. */
  readonly layers: Layers;
  readonly #units: DirtyUnits;
  readonly #groups: Groups;
  readonly #writers: Writers;
  readonly #isChecked: boolean;

  constructor(options: RegionsOptions) {
    const { unitSizeBytes, committed, knownReceiptsMax = KNOWN_RECEIPTS_MAX, isChecked = false } = options;
    this.unitSizeBytes = unitSizeBytes;
    this.layers = new Layers(unitSizeBytes, committed, knownReceiptsMax);
    this.#units = new DirtyUnits(unitSizeBytes);
    this.#groups = new Groups(this.layers);
    this.#writers = new Writers(unitSizeBytes, this.#units, this.#groups);
    this.#isChecked = isChecked;
  }

  // ---- What there is ------------------------------------------------------------------------------------

  /** The size of the file as this client sees it. */
  get sizeBytes(): number {
    return this.layers.sizeBytes;
  }

  /**
   * The size that the file has in the commit of this group, as far as it is known now. The records of its
   * flushes end there.
   */
  sizeBytesIn(group: Group): number {
    return this.layers.sizeUpTo(group.layer);
  }

  /** Bytes that lie in pages only: no flush has copied them. */
  get dirtyBytes(): number {
    return this.#units.dirtyBytes;
  }

  /** Writers that wait or write. */
  get writerCount(): number {
    return this.#writers.count;
  }

  /** True when a writer waits or writes beyond this offset of the file. */
  isWrittenBeyond(offsetBytes: number): boolean {
    for (const { toBytes } of this.#writers.all) if (toBytes > offsetBytes) return true;
    return false;
  }

  get dirtyUnitCount(): number {
    return this.#units.regionCount;
  }

  /** Flushes whose records are not durable. */
  get flushCount(): number {
    return this.#units.flushCount;
  }

  /** The memory that records take, about. */
  get recordBytes(): number {
    const { regionCount, flushCount, spanCount } = this.#units;
    const units = (regionCount + flushCount + this.#writers.count) * UNIT_RECORD_BYTES;
    return units + spanCount * SPAN_BYTES + this.layers.pendingCount * RECEIPT_BYTES;
  }

  /** True when nothing of the file waits for a flush or a commit. */
  get isClean(): boolean {
    return this.#groups.isOnlyOpen && isEmpty(this.#groups.open);
  }

  /** Oldest first; the last is open. They must not be changed. */
  get groups(): readonly Group[] {
    return this.#groups.all;
  }

  /** Those who wait or write, in the order of arrival. They must not be changed. */
  get writers(): Iterable<Writer> {
    return this.#writers.all;
  }

  /** The unit's dirty region; undefined when it has none. It must not be changed. */
  dirtyRegion(unit: number): Readonly<DirtyRegion> | undefined {
    return this.#units.get(unit);
  }

  /** True when a byte of [fromBytes, toBytes) is not durable outside of pages, so that its page must stay. */
  isDirty(fromBytes: number, toBytes: number): boolean {
    return this.#units.isDirty(fromBytes, toBytes);
  }

  /**
   * Returns the bytes of the unit, as offsets in it, that are durable nowhere but in pages. The unit's record
   * may have other bytes there, so whoever fills pages from the record must keep them. The set is the
   * caller's.
   */
  keptSpans(unit: number): Spans {
    return this.#units.keptSpans(unit);
  }

  /**
   * The offset in the unit from which the record that `layers.find` returns counts as zeros, because a
   * truncate has cut it there. Infinity when nothing is cut. Whoever fills pages from that record asks for it
   * in the same turn.
   */
  zeroFromBytes(unit: number): number {
    return this.#units.zeroFromBytes(unit);
  }

  /** True when another client's change of this unit would contradict changes of this file. */
  hasChanged(unit: number): boolean {
    return this.#units.hasUncommitted(unit) || this.layers.hasChanged(unit);
  }

  // ---- Writers ------------------------------------------------------------------------------------------

  /**
   * Asks for [fromBytes, toBytes). Returns a writer that is active already if nothing is in its way.
   * Otherwise wait with {@link whenActive}. A truncate gives its new size as `fromBytes`, and no end.
   */
  reserve(type: WriterType, fromBytes: number, toBytes: number = Number.POSITIVE_INFINITY): Writer {
    const isTruncate = type === 'truncate';
    if (!(fromBytes < toBytes) || isTruncate !== (toBytes === Number.POSITIVE_INFINITY)) {
      throw new NetsealError('EBUG', `${type} of [${fromBytes}, ${toBytes})`);
    }
    const writer = this.#writers.reserve(type, fromBytes, toBytes);
    this.#check();
    return writer;
  }

  /**
   * Resolves when the writer is active. It may be reserved again by the time that the caller goes on, as long
   * as it has written nothing: look at its state in the turn in which it writes, and wait again.
   *
   * Rejects with the signal's reason when that aborts first: then the writer is aborted and holds nobody up.
   */
  whenActive(writer: Writer, signal?: AbortSignal): Promise<void> {
    return this.#writers.whenActive(writer, signal, error => this.abort(writer, error));
  }

  /** Ends a writer that is not active yet, and rejects its {@link whenActive} with `error`. */
  abort(writer: Writer, error: unknown): void {
    this.#writers.abort(writer, error);
    this.#check();
  }

  /** Notes that the active writer's bytes up to `toBytes` are in pages. */
  dirtied(writer: Writer, toBytes: number): void {
    const group = requireActive(writer);
    if (toBytes < writer.dirtyToBytes || toBytes > writer.toBytes) {
      throw new NetsealError('EBUG', `dirty to ${toBytes} of [${writer.fromBytes}, ${writer.toBytes})`);
    }
    this.#write(group, writer.dirtyToBytes, toBytes);
    writer.dirtyToBytes = toBytes;
    this.#check();
  }

  /** Ends an active writer, wherever it has come to. What it has written stays dirty. */
  end(writer: Writer): void {
    this.#writers.end(writer);
    this.#check();
  }

  /**
   * True when [fromBytes, toBytes) may be written in this turn without a writer: nobody waits or writes in
   * its units, and none of them is dirty in a closed group.
   */
  canWriteNow(fromBytes: number, toBytes: number): boolean {
    return this.#writers.isFree(
      Math.floor(fromBytes / this.unitSizeBytes),
      Math.ceil(toBytes / this.unitSizeBytes),
    );
  }

  /** Notes that [fromBytes, toBytes) is in pages, in the turn of {@link canWriteNow}. */
  writeNow(fromBytes: number, toBytes: number): void {
    this.#write(this.#groups.open, fromBytes, toBytes);
    this.#check();
  }

  /**
   * Sets the size to the `fromBytes` of an active truncate, and ends it. What lies beyond goes: dirty bytes,
   * and flushes and records of this group. The unit that is cut in two becomes dirty, with zeros from the cut
   * on. The caller drops or zeroes the pages beyond the cut in the same turn.
   */
  truncate(writer: Writer): void {
    const group = requireActive(writer);
    if (writer.type !== 'truncate') throw new NetsealError('EBUG', 'not a truncate');
    if (writer.fromBytes < this.sizeBytes) this.#cut(group, writer);
    group.layer.truncated(writer.fromBytes, this.unitSizeBytes);
    this.#writers.end(writer);
    this.#check();
  }

  // ---- Flushes ------------------------------------------------------------------------------------------

  /**
   * Yields the units to flush, in the order in which they should be: first those that writers wait for, then
   * those of closed groups, then those that became dirty first. Those that wait for an earlier flush to be
   * placed are left out. A unit may come twice. Between two units the caller may begin to flush the first.
   *
   * @param takes `whole`: only units that no active writer is still writing to. `pressed`: those, too, as far
   *   as they are written, for when memory is short.
   * @param only of this group, besides those that writers wait for.
   */
  *toFlush(takes: 'whole' | 'pressed', only?: Group): Generator<number, void, undefined> {
    for (const region of this.#writers.awaited) if (this.#isFlushable(region, takes)) yield region.unit;
    for (const group of only === undefined ? this.#groups.all : [only]) {
      for (const region of group.dirty) if (this.#isFlushable(region, takes)) yield region.unit;
    }
  }

  /** True when the unit is dirty, and no flush of it waits to be placed. */
  canFlush(unit: number): boolean {
    return this.#units.get(unit) !== undefined && this.#units.unplaced(unit) === undefined;
  }

  /**
   * Begins to flush the unit: {@link canFlush} must be true. In the same turn the caller
   *   - copies the bytes of `spans` from the pages,
   *   - finds the unit's base, if they do not cover the unit: the record of `layers.find`, which counts as
   *     zeros from the flush's `zeroFromBytes` on. It is the base of this flush, whatever becomes of the
   *     layers,
   *   - takes the end of the record from {@link sizeBytesIn} the flush's group.
   *
   * Later the caller calls `placed` and `uploaded`, or `failed`.
   */
  beginFlush(unit: number): Flush {
    const region = this.#units.get(unit);
    if (region === undefined) throw new NetsealError('EBUG', `unit ${unit} is not dirty`);
    const flush = this.#units.copy(region);
    this.#writers.advanceIn(unit, unit + 1);
    this.#check();
    return flush;
  }

  /**
   * Enters the record of a flush: from now on reads find it.
   *
   * @param receipt undefined when the unit is a hole.
   * @returns false when the record is of no use, because the unit was truncated away or discarded.
   */
  placed(flush: Flush, receipt: Receipt | undefined): boolean {
    if (flush.state !== 'copied') return false;
    this.#units.place(flush, receipt);
    tellIfPlaced(flush.group);
    this.#check();
    return true;
  }

  /**
   * Notes that the record of a placed flush is durable. Pages with bytes of `flush.spans` are clean from then
   * on, unless {@link isDirty} says otherwise.
   */
  uploaded(flush: Flush): void {
    if (flush.state === 'copied') throw new NetsealError('EBUG', 'uploaded before it was placed');
    if (flush.state !== 'placed') return;
    flush.group.layer.confirm(flush.unit, flush.receipt);
    this.#units.end(flush, 'uploaded');
    this.#check();
  }

  /**
   * Notes that a flush has failed for good, before or after it was placed. Its bytes are dirty again, and its
   * group and all later ones are folded into the open group.
   *
   * @returns false when nothing was lost: the unit was truncated away, is a hole, or the group is committed.
   */
  failed(flush: Flush): boolean {
    if (flush.state !== 'copied' && flush.state !== 'placed') return false;
    const isHole = flush.state === 'placed' && flush.receipt === undefined;
    if (isHole || flush.group.state === 'committed') {
      this.uploaded(flush);
      return false;
    }
    this.#redirty(flush);
    this.#foldFrom(flush.group);
    this.#check();
    return true;
  }

  /** True when the unit's dirty bytes are in so many pieces that they must be rounded out. */
  mustRound(unit: number): boolean {
    const region = this.#units.get(unit);
    return region !== undefined && region.spans.count > spansMax(this.unitSizeBytes);
  }

  /**
   * Rounds the unit's dirty bytes out to 4 KiB. The pages must hold the whole unit, as far as the file goes.
   */
  roundOut(unit: number): void {
    const region = this.#units.get(unit);
    if (region === undefined) return;
    const sizeBytes = this.sizeBytesIn(region.group);
    const endBytes = Math.min(this.unitSizeBytes, sizeBytes - unit * this.unitSizeBytes);
    this.#units.roundOut(region, ROUNDED_BYTES, endBytes);
    this.#check();
  }

  // ---- Groups -------------------------------------------------------------------------------------------

  /**
   * Closes the open group, with everything that was written or truncated so far, and begins the next. Writers
   * that have begun belong to the closed group, also with what they have not yet written. Active writers that
   * have written nothing become reserved, for the next group.
   *
   * @returns the closed group; undefined when there was nothing in it and `evenEmpty` is false.
   */
  closeGroup(evenEmpty: boolean = false): Group | undefined {
    const group = this.#groups.close(evenEmpty);
    if (group !== undefined) this.#writers.takeUnbegun(group);
    this.#check();
    return group;
  }

  /** The oldest group that is closed and not committed; undefined when there is none. */
  get oldestClosed(): Group | undefined {
    return this.#groups.isOnlyOpen ? undefined : this.#groups.all[0];
  }

  /**
   * True when all of the group is placed and nobody writes to it: it may be committed, if it is the oldest.
   */
  isPlaced(group: Group): boolean {
    return isPlaced(group);
  }

  /** Resolves when the closed group is placed, folded or discarded. Its state tells which. */
  whenPlaced(group: Group): Promise<void> {
    return whenPlaced(group);
  }

  /**
   * Returns what the commit of the oldest group says; the group must be placed. It stays as it is, so that
   * the same commit can be sent again. A file has one commit at a time.
   */
  toCommit(group: Group): ReturnType<Layers['toCommit']> {
    if (group.state !== 'closed' || !isPlaced(group)) throw new NetsealError('EBUG', 'not all is placed');
    return this.layers.toCommit(group.layer);
  }

  /**
   * Notes that the commit of a group has succeeded. When the group was folded meanwhile, its changes stay
   * pending, and are committed once more, on the new version.
   */
  committed(group: Group, state: FileState): void {
    if (group.state === 'closed') this.#groups.committed(group, state);
    else this.layers.rebase(state);
    this.#check();
  }

  /** Folds this group and all later closed ones into the open one: they will be committed together. */
  fold(group: Group): void {
    this.#foldFrom(group);
    this.#check();
  }

  /**
   * Drops all changes, and ends the active truncate to 0 by which the caller has excluded all writers. No
   * commit may be under way. The caller drops all dirty pages in the same turn.
   */
  discard(writer: Writer): void {
    requireActive(writer);
    if (writer.type !== 'truncate' || writer.fromBytes !== 0) throw new NetsealError('EBUG', 'not exclusive');
    for (const group of this.#groups.all) {
      for (const region of group.dirty) this.#units.drop(region);
      for (const flush of group.flushes) this.#units.end(flush, 'dropped');
    }
    this.#groups.discardAll();
    this.#writers.end(writer);
    this.#check();
  }

  /** Throws EBUG when an invariant does not hold. */
  assertInvariants(): void {
    this.#units.assertInvariants();
    this.#groups.assertInvariants();
    this.#writers.assertInvariants();
  }

  // ---- Inside -------------------------------------------------------------------------------------------

  #write(group: Group, fromBytes: number, toBytes: number): void {
    if (fromBytes >= toBytes) return;
    this.#units.add(group, fromBytes, toBytes);
    group.layer.wrote(toBytes);
  }

  #isFlushable({ unit }: DirtyRegion, takes: 'whole' | 'pressed'): boolean {
    if (this.#units.unplaced(unit) !== undefined) return false;
    return takes === 'pressed' || !this.#writers.isBusy(unit);
  }

  /** Removes what lies at and beyond the truncate's `fromBytes`. */
  #cut(group: Group, { fromBytes, fromUnit }: Writer): void {
    const offsetBytes = fromBytes - fromUnit * this.unitSizeBytes;
    const firstGone = offsetBytes > 0 ? fromUnit + 1 : fromUnit;
    for (const region of group.dirty) if (region.unit >= firstGone) this.#units.drop(region);
    if (offsetBytes > 0) this.#units.cut(this.#units.obtain(fromUnit, group), offsetBytes);
    for (const { flushes } of this.#groups.all) {
      for (const flush of flushes) {
        if (flush.unit < fromUnit) continue;
        if (flush.unit < firstGone) this.#units.cutFlush(flush, offsetBytes);
        else if (flush.group === group) this.#units.end(flush, 'dropped');
        else this.#units.cutOffFlush(flush);
      }
    }
  }

  #redirty(flush: Flush): void {
    const { group, receipt, unit } = flush;
    if (receipt !== undefined) group.layer.remove(unit, receipt);
    this.#units.redirty(flush);
  }

  #foldFrom(first: Group): void {
    if (first.state !== 'closed') return;
    for (const { id, flushes } of this.#groups.all) {
      if (id < first.id) continue;
      // Such a flush counts in its own group only: a later truncate has removed its unit, so the open group
      // lacks it.
      for (const flush of flushes) if (flush.isCutOff) this.#units.end(flush, 'dropped');
    }
    this.#groups.foldFrom(first);
    this.#writers.advanceIn(0, Number.POSITIVE_INFINITY);
  }

  #check(): void {
    if (this.#isChecked) this.assertInvariants();
  }
}
