/**
 * The entries of a page cache and the memory that they have, for the thread that changes them.
 *
 * Invariants
 *   1. A block has at most one entry, and an entry has at least one granule that is not absent. So there is always
 *      a free entry: there are as many as subframes.
 *   2. A granule is absent unless it is uptodate or held. In a block without a frame, exactly the
 *      granules that are not absent have a subframe.
 *   3. Memory belongs to one entry, or was taken and is not placed yet, or is free. Memory that is being filled
 *      belongs to no entry, so no reader finds it.
 *   4. Eviction takes no granule that is held, none of the entry that memory is being taken for, and nothing that is
 *      being filled.
 *   5. An entry, its bytes and its memory change only between `begin` and `end`. Both are in one turn.
 *
 * Eviction gives each entry a second chance. A hand goes over the frames in the order of their addresses: an entry
 * that was used since the hand passed stays, and counts as unused from then on. So what is evicted one after the
 * other lies side by side, and so does what is cached next.
 */
import { copyRange } from '../../base/bytes.ts';
import { NetsealError } from '../../base/errors.ts';
import { countBits, lowestBit } from './bits.ts';
import { FramePool } from './frame-pool.ts';
import {
  ALL_GRANULES,
  BLOCK_BYTES,
  BLOCK_GRANULES,
  BLOCK_HIGH,
  BLOCK_LOW,
  beginChange,
  bucketOf,
  ENTRY_WORDS,
  endChange,
  FILE,
  FILE_NEXT,
  FILE_PREVIOUS,
  FRAME,
  findEntry,
  HELD_SHIFT,
  highOf,
  NEXT,
  offsetOf,
  type PageMemory,
  STATE,
  SUBFRAMES,
  slabOf,
  USED,
} from './page-memory.ts';
import { GRANULE_BYTES, type PageUse } from './pages.ts';

/** A block that holds more granules than this has a frame of its own. */
const SUBFRAMES_MAX = BLOCK_GRANULES / 2;

/** The entries of one file. */
export interface FileEntries {
  /** 0 once the file was removed. */
  number: number;
  /** The first of them; 0 when there is none. */
  first: number;
  count: number;
}

export class PageTable {
  readonly memory: PageMemory;
  readonly pool: FramePool;
  readonly #words: Int32Array;
  readonly #onFreed: () => void;
  /** By number. */
  readonly #files: FileEntries[] = [];
  /** Free entries are chained by `NEXT`. Those that were never used come after `#nextEntry`. */
  #freeEntry = 0;
  #nextEntry: number;
  #usedBytes = 0;
  #heldBytes = 0;
  #fillingBytes = 0;
  /** The frame that eviction looks at next. */
  #hand = 0;
  /** What the entry that is being changed was before. */
  #presentBefore = 0;
  #heldBefore = 0;
  /** The entry that memory is being taken for. */
  #busy = 0;
  /** Memory that was taken and not placed: a frame, or subframes by granule; -1 for none. */
  #takenFrame = -1;
  readonly #takenSubframes = new Int32Array(BLOCK_GRANULES);

  /** @param onFreed called when a granule was dropped or was released. It must not change pages. */
  constructor(memory: PageMemory, onFreed: () => void) {
    this.memory = memory;
    this.pool = new FramePool(memory.frameCount);
    this.#words = memory.words;
    this.#nextEntry = memory.entriesAt;
    this.#onFreed = onFreed;
  }

  get use(): PageUse {
    return {
      budgetBytes: this.memory.frameCount * BLOCK_BYTES,
      usedBytes: this.#usedBytes + this.#fillingBytes,
      heldBytes: this.#heldBytes,
    };
  }

  addFile(number: number): FileEntries {
    const entries: FileEntries = { number, first: 0, count: 0 };
    this.#files[number] = entries;
    return entries;
  }

  find(file: FileEntries, block: number): number {
    return findEntry(this.memory, file.number, block);
  }

  /** Returns the next entry of the same file, in no order. */
  nextOf(entry: number): number {
    return this.#words[entry + FILE_NEXT] ?? 0;
  }

  blockOf(entry: number): number {
    const low = (this.#words[entry + BLOCK_LOW] ?? 0) >>> 0;
    return (this.#words[entry + BLOCK_HIGH] ?? 0) * 0x1_0000_0000 + low;
  }

  uptodateOf(entry: number): number {
    return (this.#words[entry + STATE] ?? 0) & ALL_GRANULES;
  }

  heldOf(entry: number): number {
    return (this.#words[entry + STATE] ?? 0) >>> HELD_SHIFT;
  }

  /** Returns the granules that are not absent. */
  presentOf(entry: number): number {
    return this.uptodateOf(entry) | this.heldOf(entry);
  }

  hasFrame(entry: number): boolean {
    return this.#words[entry + FRAME] !== 0;
  }

  /** Returns the frame of an entry; -1 when it has none. */
  frameOf(entry: number): number {
    return (this.#words[entry + FRAME] ?? 0) - 1;
  }

  /** Changes what is known of the granules. Between `begin` and `end`; memory is the caller's. */
  setStates(entry: number, uptodate: number, held: number): void {
    this.#words[entry + STATE] = uptodate | (held << HELD_SHIFT);
  }

  noteUse(entry: number): void {
    this.#words[entry + USED] = 1;
  }

  /** Begins a change of an entry. Changes do not nest. */
  begin(entry: number): void {
    beginChange(this.#words, entry);
    this.#presentBefore = this.presentOf(entry);
    this.#heldBefore = this.heldOf(entry);
    this.#count(entry, -1);
  }

  /** Ends a change. An entry of which nothing is left becomes free. */
  end(entry: number): void {
    const present = this.presentOf(entry);
    const isFreed = (this.#presentBefore & ~present) !== 0 || (this.#heldBefore & ~this.heldOf(entry)) !== 0;
    this.#count(entry, 1);
    if (present === 0) this.#remove(entry);
    endChange(this.#words, entry);
    if (isFreed) this.#onFreed();
  }

  /** Makes an entry for a block that has none, and begins a change of it. */
  add(file: FileEntries, block: number): number {
    const words = this.#words;
    if (file.number === 0) throw new NetsealError('EBUG', 'pages of a file that was removed');
    let entry = this.#freeEntry;
    if (entry === 0) {
      entry = this.#nextEntry;
      if (entry >= this.memory.bucketsAt) throw new NetsealError('EBUG', 'pages have no entry left');
      this.#nextEntry += ENTRY_WORDS;
    } else {
      this.#freeEntry = words[entry + FILE_NEXT] ?? 0;
    }
    this.begin(entry);
    words[entry + FILE] = file.number;
    words[entry + BLOCK_LOW] = block | 0;
    words[entry + BLOCK_HIGH] = highOf(block);
    words[entry + USED] = 0;
    const bucket = bucketOf(this.memory, file.number, block);
    words[entry + NEXT] = words[bucket] ?? 0;
    words[bucket] = entry;
    words[entry + FILE_PREVIOUS] = 0;
    words[entry + FILE_NEXT] = file.first;
    if (file.first !== 0) words[file.first + FILE_PREVIOUS] = entry;
    file.first = entry;
    file.count += 1;
    return entry;
  }

  /** Drops granules, held or not. Between `begin` and `end`. */
  drop(entry: number, granules: number): void {
    const words = this.#words;
    const dropped = this.presentOf(entry) & granules;
    const kept = ~dropped;
    this.setStates(entry, this.uptodateOf(entry) & kept, this.heldOf(entry) & kept);
    if (!this.hasFrame(entry)) {
      for (let left = dropped; left !== 0; left &= left - 1) this.#freeSubframe(entry, lowestBit(left));
    } else if (this.presentOf(entry) === 0) {
      this.pool.freeFrame(this.frameOf(entry));
      words[entry + FRAME] = 0;
    }
  }

  /**
   * Takes memory for absent granules of a block, if need be from others. A block that would hold many gets a frame
   * for all of them. `place` must follow, before anything else is done.
   *
   * @param entry 0 when the block has none yet. Not being changed.
   * @param wantsFrame true: a frame even for few granules.
   * @param after the frame that the block's own frame should come behind; -1 for none.
   * @param runLength how many frames will be taken one after the other.
   * @returns those that got memory: all of them, or those below the first one that got none.
   */
  take(entry: number, absent: number, wantsFrame: boolean, after: number, runLength: number): number {
    this.#takenFrame = -1;
    if (entry !== 0 && this.hasFrame(entry)) return absent;
    const present = entry === 0 ? 0 : this.presentOf(entry);
    this.#busy = entry;
    const isLarge = wantsFrame || countBits(present | absent) > SUBFRAMES_MAX;
    if (isLarge) this.#takenFrame = this.takeFrame(after, runLength);
    const granted = this.#takenFrame >= 0 ? absent : this.#takeSubframes(entry, absent);
    this.#busy = 0;
    return granted;
  }

  /**
   * Gives an entry the memory that was taken. Bytes move with it; those of new granules are anything. Between
   * `begin` and `end`.
   */
  place(entry: number, granted: number): void {
    const words = this.#words;
    if (this.#takenFrame >= 0) {
      this.giveFrame(entry, this.#takenFrame);
      this.#takenFrame = -1;
    } else if (!this.hasFrame(entry)) {
      for (let left = granted; left !== 0; left &= left - 1) {
        const granule = lowestBit(left);
        const subframe = this.#takenSubframes[granule] ?? 0;
        words[entry + SUBFRAMES + granule] = subframe + 1;
        this.pool.setOwner(subframe, entry + granule);
      }
    }
  }

  /**
   * Gives an entry without a frame this one. Granules that are not absent are copied into it. Between `begin` and
   * `end`.
   */
  giveFrame(entry: number, frame: number): void {
    const { memory, pool } = this;
    for (let left = this.presentOf(entry); left !== 0; left &= left - 1) {
      const granule = lowestBit(left);
      const from = this.#subframeOf(entry, granule);
      copySubframe(memory, from, frame * BLOCK_GRANULES + granule);
      this.#freeSubframe(entry, granule);
    }
    this.#words[entry + FRAME] = frame + 1;
    pool.setOwner(frame * BLOCK_GRANULES, entry);
  }

  /**
   * Copies to the bytes [start, end) of a block, whose granules have memory. Where `from` ends, zeros follow.
   * Between `begin` and `end`.
   */
  copyIn(entry: number, start: number, end: number, from: Uint8Array, fromOffset: number): void {
    for (let at = start; at < end; ) {
      const next = this.#pieceEnd(entry, at, end);
      const subframe = this.#subframeOf(entry, Math.floor(at / GRANULE_BYTES));
      const slab = slabOf(this.memory, Math.floor(subframe / BLOCK_GRANULES));
      const offset = subframeOffset(subframe) + (at % GRANULE_BYTES);
      const source = fromOffset + at - start;
      const copied = Math.max(0, Math.min(next - at, from.byteLength - source));
      if (copied > 0) copyRange(from, source, slab, offset, copied);
      if (copied < next - at) Buffer.prototype.fill.call(slab, 0, offset + copied, offset + next - at);
      at = next;
    }
  }

  /** Copies the bytes [start, end) of a block, whose granules have memory, to `at` in `into`. */
  copyOut(entry: number, start: number, end: number, into: Uint8Array, intoOffset: number): void {
    for (let at = start; at < end; ) {
      const next = this.#pieceEnd(entry, at, end);
      const subframe = this.#subframeOf(entry, Math.floor(at / GRANULE_BYTES));
      const slab = slabOf(this.memory, Math.floor(subframe / BLOCK_GRANULES));
      const offset = subframeOffset(subframe) + (at % GRANULE_BYTES);
      copyRange(slab, offset, into, intoOffset + at - start, next - at);
      at = next;
    }
  }

  /** Takes a frame, if need be from others. Returns -1 when there is none. */
  takeFrame(after: number, runLength: number): number {
    return this.#makeFrameFree() ? this.pool.takeFrame(after, runLength) : -1;
  }

  /** Takes a frame for bytes to come, which no entry names meanwhile. Returns -1 when there is none. */
  takeFilling(after: number, runLength: number): number {
    const frame = this.takeFrame(after, runLength);
    if (frame >= 0) this.#fillingBytes += BLOCK_BYTES;
    return frame;
  }

  /** The frame is not being filled any more. It goes to an entry, or is freed. */
  endFilling(frame: number, isFreed: boolean): void {
    this.#fillingBytes -= BLOCK_BYTES;
    if (!isFreed) return;
    this.pool.freeFrame(frame);
    this.#onFreed();
  }

  /** Adds what an entry holds to the counts, or takes it off. */
  #count(entry: number, sign: number): void {
    const held = this.heldOf(entry);
    if (this.hasFrame(entry)) {
      this.#usedBytes += sign * BLOCK_BYTES;
      if (held !== 0) this.#heldBytes += sign * BLOCK_BYTES;
    } else {
      this.#usedBytes += sign * countBits(this.presentOf(entry)) * GRANULE_BYTES;
      this.#heldBytes += sign * countBits(held) * GRANULE_BYTES;
    }
  }

  /** Takes an entry out of its bucket and its file. It keeps its way on, for readers that stand on it. */
  #remove(entry: number): void {
    const words = this.#words;
    const number = words[entry + FILE] ?? 0;
    const file = this.#files[number];
    if (file === undefined) throw new NetsealError('EBUG', `pages of no file: ${number}`);
    const next = words[entry + NEXT] ?? 0;
    let link = bucketOf(this.memory, number, this.blockOf(entry));
    for (let at = words[link] ?? 0; at !== entry; at = words[link] ?? 0) link = at + NEXT;
    words[link] = next;
    const filePrevious = words[entry + FILE_PREVIOUS] ?? 0;
    const fileNext = words[entry + FILE_NEXT] ?? 0;
    if (filePrevious === 0) file.first = fileNext;
    else words[filePrevious + FILE_NEXT] = fileNext;
    if (fileNext !== 0) words[fileNext + FILE_PREVIOUS] = filePrevious;
    file.count -= 1;
    words[entry + FILE] = 0;
    words[entry + FILE_NEXT] = this.#freeEntry;
    this.#freeEntry = entry;
  }

  #subframeOf(entry: number, granule: number): number {
    const frame = this.frameOf(entry);
    return frame >= 0
      ? frame * BLOCK_GRANULES + granule
      : (this.#words[entry + SUBFRAMES + granule] ?? 0) - 1;
  }

  /** Returns how far the bytes from `at` on lie in one piece of memory. */
  #pieceEnd(entry: number, at: number, end: number): number {
    return this.hasFrame(entry) ? end : Math.min(end, at - (at % GRANULE_BYTES) + GRANULE_BYTES);
  }

  #freeSubframe(entry: number, granule: number): void {
    const at = entry + SUBFRAMES + granule;
    this.pool.freeSubframe((this.#words[at] ?? 0) - 1);
    this.#words[at] = 0;
  }

  #takeSubframes(entry: number, absent: number): number {
    const first = lowestBit(absent);
    let last = entry === 0 || first === 0 ? -1 : (this.#words[entry + SUBFRAMES + first - 1] ?? 0) - 1;
    let granted = 0;
    for (let left = absent; left !== 0; left &= left - 1) {
      if (!this.#makeSubframeFree()) break;
      last = this.pool.takeSubframe(last);
      const granule = lowestBit(left);
      this.#takenSubframes[granule] = last;
      granted |= 1 << granule;
    }
    return granted;
  }

  #makeFrameFree(): boolean {
    const { pool } = this;
    for (let steps = 2 * pool.frameCount; pool.freeFrames === 0 && steps > 0; steps -= 1) {
      if (pool.freeSubframes >= BLOCK_GRANULES && this.#joinFreeSubframes()) break;
      if (!this.#hasClean()) break;
      this.#moveHand();
    }
    return pool.freeFrames > 0;
  }

  #makeSubframeFree(): boolean {
    const { pool } = this;
    let steps = 2 * pool.frameCount;
    while (pool.freeSubframes === 0 && pool.freeFrames === 0) {
      if (steps === 0 || !this.#hasClean()) return false;
      this.#moveHand();
      steps -= 1;
    }
    return true;
  }

  #hasClean(): boolean {
    return this.#usedBytes > this.#heldBytes;
  }

  /** Evicts what can be evicted from the frame at the hand. */
  #moveHand(): void {
    const frame = this.#hand;
    this.#hand = frame + 1 < this.pool.frameCount ? frame + 1 : 0;
    if (this.pool.isWhole(frame)) this.#evictFrame(frame);
    else if (this.pool.isSplit(frame)) this.#evictSubframes(frame);
  }

  #evictFrame(frame: number): void {
    const words = this.#words;
    const entry = this.pool.ownerOf(frame * BLOCK_GRANULES);
    if (entry === 0 || entry === this.#busy || this.heldOf(entry) !== 0) return;
    if (words[entry + USED] !== 0) {
      words[entry + USED] = 0;
      return;
    }
    this.begin(entry);
    this.drop(entry, ALL_GRANULES);
    this.end(entry);
  }

  #evictSubframes(frame: number): void {
    const words = this.#words;
    const { pool } = this;
    const first = frame * BLOCK_GRANULES;
    // An entry may have several of them: all are judged by its last use, which is cleared in the end.
    let spared = 0;
    for (let index = 0; index < BLOCK_GRANULES && pool.isSplit(frame); index += 1) {
      const owner = pool.ownerOf(first + index);
      const granule = owner % ENTRY_WORDS;
      const entry = owner - granule;
      if (entry === 0 || entry === this.#busy || (this.heldOf(entry) & (1 << granule)) !== 0) continue;
      if (words[entry + USED] !== 0) {
        spared |= 1 << index;
        continue;
      }
      this.begin(entry);
      this.drop(entry, 1 << granule);
      this.end(entry);
    }
    for (let left = spared; left !== 0; left &= left - 1) {
      const owner = pool.ownerOf(first + lowestBit(left));
      words[owner - (owner % ENTRY_WORDS) + USED] = 0;
    }
  }

  /** Makes a frame free by moving the subframes of one that has few. Returns false when it could not. */
  #joinFreeSubframes(): boolean {
    const { pool } = this;
    const frame = pool.emptiestSplit();
    const first = frame * BLOCK_GRANULES;
    for (let index = 0; index < BLOCK_GRANULES && pool.isSplit(frame); index += 1) {
      const owner = pool.ownerOf(first + index);
      if (owner === 0) continue;
      const target = pool.takeSubframeNotIn(frame);
      if (target < 0) return false;
      const granule = owner % ENTRY_WORDS;
      const entry = owner - granule;
      this.begin(entry);
      copySubframe(this.memory, first + index, target);
      this.#freeSubframe(entry, granule);
      this.#words[entry + SUBFRAMES + granule] = target + 1;
      pool.setOwner(target, owner);
      this.end(entry);
    }
    return !pool.isSplit(frame);
  }
}

/** Returns the offset of a subframe in the slab of its frame. */
function subframeOffset(subframe: number): number {
  return offsetOf(Math.floor(subframe / BLOCK_GRANULES)) + (subframe % BLOCK_GRANULES) * GRANULE_BYTES;
}

function copySubframe(memory: PageMemory, from: number, to: number): void {
  const source = slabOf(memory, Math.floor(from / BLOCK_GRANULES));
  const target = slabOf(memory, Math.floor(to / BLOCK_GRANULES));
  copyRange(source, subframeOffset(from), target, subframeOffset(to), GRANULE_BYTES);
}
