/**
 * A page cache of ordinary arrays, one for each granule, in a Map. It is slow and easy to check: what other
 * page caches are compared with.
 *
 * The order of the Map is the order in which granules were used last, so the first one that is not
 * held is the one to evict.
 */
import { concatBytes } from '../../base/bytes.ts';
import type { CallOptions } from '../../base/call-options.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { Waiters } from '../../base/waiters.ts';
import {
  type ByteRange,
  type FilePages,
  type Filling,
  GRANULE_BYTES,
  type PageCache,
  type PageFacts,
  type PageUse,
} from './pages.ts';

const FILLING_ALIGNMENT_BYTES = 64 * 1024;
const NOTHING = new Uint8Array(0);

interface Granule {
  readonly file: PlainFilePages;
  readonly index: number;
  readonly bytes: Uint8Array;
  isUptodate: boolean;
  isHeld: boolean;
}

export class PlainPages implements PageCache {
  readonly #granulesMax: number;
  /** All granules of all files, least recently used first. */
  readonly #granules = new Set<Granule>();
  /** Each waits for the counter to be beyond what it was. */
  readonly #waiters = new Waiters((seenCount: number) => (this.#freedCount > seenCount ? true : undefined));
  #freedCount = 0;
  #heldCount = 0;
  /** Granules that are being filled. */
  #fillingCount = 0;
  #isClosed = false;

  /** @param budgetBytes a multiple of 4 KiB, above 0. */
  constructor(budgetBytes: number) {
    requireArgument(
      Number.isSafeInteger(budgetBytes) && budgetBytes > 0 && budgetBytes % GRANULE_BYTES === 0,
      `pages need a multiple of ${GRANULE_BYTES} bytes, not ${budgetBytes}`,
    );
    this.#granulesMax = budgetBytes / GRANULE_BYTES;
  }

  get use(): PageUse {
    return {
      budgetBytes: this.#granulesMax * GRANULE_BYTES,
      usedBytes: (this.#granules.size + this.#fillingCount) * GRANULE_BYTES,
      heldBytes: this.#heldCount * GRANULE_BYTES,
    };
  }

  addFile(_key: Uint8Array): FilePages {
    if (this.#isClosed) throw closedError();
    return new PlainFilePages(this);
  }

  reserve(lengthBytes: number): Filling | undefined {
    if (this.#isClosed) throw closedError();
    const count = Math.ceil(lengthBytes / GRANULE_BYTES);
    while (this.#roomCount < count) if (!this.#evict()) return undefined;
    this.#fillingCount += count;
    return new PlainFilling(lengthBytes, () => {
      this.#fillingCount -= count;
      this.#freed();
    });
  }

  async waitForRoom(options: CallOptions = {}): Promise<void> {
    if (this.#isClosed) throw closedError();
    await this.#waiters.wait(this.#freedCount, options.signal);
  }

  close(): void {
    this.#isClosed = true;
    this.#granules.clear();
    this.#waiters.failAll(closedError());
  }

  /** Takes memory for a granule; evicts another if need be. Undefined when all are held. */
  take(file: PlainFilePages, index: number): Granule | undefined {
    if (this.#roomCount <= 0 && !this.#evict()) return undefined;
    const granule: Granule = {
      file,
      index,
      bytes: new Uint8Array(GRANULE_BYTES),
      isUptodate: false,
      isHeld: false,
    };
    this.#granules.add(granule);
    return granule;
  }

  /** Notes that a granule was used just now. */
  touch(granule: Granule): void {
    this.#granules.delete(granule);
    this.#granules.add(granule);
  }

  hold(granule: Granule): void {
    if (!granule.isHeld) this.#heldCount += 1;
    granule.isHeld = true;
  }

  release(granule: Granule): void {
    if (!granule.isHeld) return;
    granule.isHeld = false;
    this.#heldCount -= 1;
    this.#freed();
  }

  drop(granule: Granule): void {
    this.release(granule);
    if (this.#granules.delete(granule)) this.#freed();
  }

  get #roomCount(): number {
    return this.#granulesMax - this.#granules.size - this.#fillingCount;
  }

  #freed(): void {
    this.#freedCount += 1;
    this.#waiters.serve();
  }

  #evict(): boolean {
    for (const granule of this.#granules) {
      if (granule.isHeld) continue;
      granule.file.forget(granule);
      this.#granules.delete(granule);
      return true;
    }
    return false;
  }
}

class PlainFilling implements Filling {
  readonly parts: readonly Uint8Array<SharedArrayBuffer>[];
  readonly lengthBytes: number;
  readonly #onRelease: () => void;
  isReleased = false;

  constructor(lengthBytes: number, onRelease: () => void) {
    this.parts = [new Uint8Array(new SharedArrayBuffer(lengthBytes))];
    this.lengthBytes = lengthBytes;
    this.#onRelease = onRelease;
  }

  release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.#onRelease();
  }
}

class PlainFilePages implements FilePages {
  readonly #cache: PlainPages;
  readonly #granules = new Map<number, Granule>();

  constructor(cache: PlainPages) {
    this.#cache = cache;
  }

  read(offsetBytes: number, into: Uint8Array): number {
    let done = 0;
    while (done < into.byteLength) {
      const at = offsetBytes + done;
      const granule = this.#granules.get(Math.floor(at / GRANULE_BYTES));
      if (granule?.isUptodate !== true) break;
      this.#cache.touch(granule);
      const within = at % GRANULE_BYTES;
      const part = granule.bytes.subarray(within, within + into.byteLength - done);
      into.set(part, done);
      done += part.byteLength;
    }
    return done;
  }

  copyOut(offsetBytes: number, into: Uint8Array): void {
    let done = 0;
    while (done < into.byteLength) {
      const at = offsetBytes + done;
      const granule = this.#granules.get(Math.floor(at / GRANULE_BYTES));
      if (granule === undefined) throw new NetsealError('EBUG', `nothing is cached at byte ${at}`);
      const within = at % GRANULE_BYTES;
      const part = granule.bytes.subarray(within, within + into.byteLength - done);
      into.set(part, done);
      done += part.byteLength;
    }
  }

  write(offsetBytes: number, from: Uint8Array): number {
    let done = 0;
    while (done < from.byteLength) {
      const at = offsetBytes + done;
      const granule = this.#getOrTake(Math.floor(at / GRANULE_BYTES));
      if (granule === undefined) break;
      const within = at % GRANULE_BYTES;
      const part = from.subarray(done, done + GRANULE_BYTES - within);
      granule.bytes.set(part, within);
      if (part.byteLength === GRANULE_BYTES) granule.isUptodate = true;
      this.#cache.hold(granule);
      done += part.byteLength;
    }
    return done;
  }

  fill(range: ByteRange, from: Uint8Array = NOTHING, keep: readonly ByteRange[]): void {
    const { fromBytes } = range;
    for (const index of granulesWithin(range)) {
      const known = this.#granules.get(index);
      if (known?.isUptodate === true) continue;
      const granule = known ?? this.#getOrTake(index);
      if (granule === undefined) continue;
      const start = index * GRANULE_BYTES;
      const kept = known === undefined ? [] : keep;
      for (const gap of gapsOf({ fromBytes: start, toBytes: start + GRANULE_BYTES }, kept)) {
        const target = granule.bytes.subarray(gap.fromBytes - start, gap.toBytes - start);
        const part = from.subarray(gap.fromBytes - fromBytes, gap.toBytes - fromBytes);
        target.set(part);
        target.fill(0, part.byteLength);
      }
      granule.isUptodate = true;
    }
  }

  insert(offsetBytes: number, filling: Filling, keep: readonly ByteRange[]): void {
    if (
      offsetBytes % FILLING_ALIGNMENT_BYTES !== 0 ||
      !(filling instanceof PlainFilling) ||
      filling.isReleased
    ) {
      throw new NetsealError('EBUG', `memory that was filled is inserted at byte ${offsetBytes}`);
    }
    filling.release();
    const toBytes = offsetBytes + filling.lengthBytes;
    this.fill({ fromBytes: offsetBytes, toBytes }, concatBytes(...filling.parts), keep);
  }

  markUptodate(range: ByteRange): void {
    for (const index of granulesWithin(range)) {
      const granule = this.#granules.get(index);
      if (granule !== undefined) granule.isUptodate = true;
    }
  }

  isUptodate(range: ByteRange): boolean {
    return this.missing(range).length === 0;
  }

  missing(range: ByteRange): ByteRange[] {
    return this.#select(range, granule => granule?.isUptodate !== true);
  }

  clean(range: ByteRange): ByteRange[] {
    return this.#select(range, granule => granule?.isHeld === false);
  }

  release(range: ByteRange): void {
    for (const granule of this.#within(range)) {
      if (granule.isUptodate) this.#cache.release(granule);
      else this.#drop(granule);
    }
  }

  dropClean(range: ByteRange): void {
    for (const granule of this.#within(range)) if (!granule.isHeld) this.#drop(granule);
  }

  truncate(sizeBytes: number): void {
    for (const granule of this.#granules.values()) {
      const start = granule.index * GRANULE_BYTES;
      if (start >= sizeBytes) this.#drop(granule);
      else if (start + GRANULE_BYTES > sizeBytes) granule.bytes.fill(0, sizeBytes - start);
    }
  }

  publish(_facts: PageFacts): void {
    // Nothing but this thread reads these pages.
  }

  remove(): void {
    for (const granule of this.#granules.values()) this.#drop(granule);
  }

  /** Notes that the granule was evicted. */
  forget(granule: Granule): void {
    this.#granules.delete(granule.index);
  }

  #drop(granule: Granule): void {
    this.forget(granule);
    this.#cache.drop(granule);
  }

  #getOrTake(index: number): Granule | undefined {
    const known = this.#granules.get(index);
    if (known !== undefined) return known;
    const granule = this.#cache.take(this, index);
    if (granule !== undefined) this.#granules.set(index, granule);
    return granule;
  }

  /** Lists the granules that a range touches and that are not absent. */
  #within({ fromBytes, toBytes }: ByteRange): Granule[] {
    const first = Math.floor(fromBytes / GRANULE_BYTES);
    const end = Math.ceil(toBytes / GRANULE_BYTES);
    if (end - first > this.#granules.size) {
      return [...this.#granules.values()].filter(({ index }) => index >= first && index < end);
    }
    const found: Granule[] = [];
    for (let index = first; index < end; index += 1) {
      const granule = this.#granules.get(index);
      if (granule !== undefined) found.push(granule);
    }
    return found;
  }

  #select({ fromBytes, toBytes }: ByteRange, isWanted: (granule?: Granule) => boolean): ByteRange[] {
    const found: { fromBytes: number; toBytes: number }[] = [];
    for (let at = fromBytes; at < toBytes; ) {
      const index = Math.floor(at / GRANULE_BYTES);
      const end = Math.min(toBytes, (index + 1) * GRANULE_BYTES);
      if (isWanted(this.#granules.get(index))) {
        const last = found.at(-1);
        if (last?.toBytes === at) last.toBytes = end;
        else found.push({ fromBytes: at, toBytes: end });
      }
      at = end;
    }
    return found;
  }
}

/** Lists the granules that lie wholly in a range. */
function granulesWithin({ fromBytes, toBytes }: ByteRange): number[] {
  const first = Math.ceil(fromBytes / GRANULE_BYTES);
  const count = Math.floor(toBytes / GRANULE_BYTES) - first;
  return Array.from({ length: Math.max(0, count) }, (_, at) => first + at);
}

/** Returns the parts of a range that `kept` leaves; `kept` is sorted. */
function gapsOf({ fromBytes, toBytes }: ByteRange, kept: readonly ByteRange[]): ByteRange[] {
  const gaps: ByteRange[] = [];
  let at = fromBytes;
  for (const range of kept) {
    if (range.toBytes <= at) continue;
    if (range.fromBytes >= toBytes) break;
    if (range.fromBytes > at) gaps.push({ fromBytes: at, toBytes: range.fromBytes });
    at = range.toBytes;
  }
  if (at < toBytes) gaps.push({ fromBytes: at, toBytes });
  return gaps;
}

function closedError(): NetsealError {
  return new NetsealError('ECLOSED', 'the page cache is closed');
}
