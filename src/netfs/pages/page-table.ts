/**
 * The entries of a page cache and what they hold, for the thread that changes them.
 *
 * Invariants
 *   1. A block has at most one entry, and an entry has at least one granule that is not absent. So there is
 *      always a free entry: there are as many as subframes.
 *   2. A granule is absent unless it is uptodate or held. In a block without a frame, exactly the
 *      granules that are not absent have a subframe.
 *   3. Memory belongs to one entry, or is being taken or filled (`page-room.ts`), or is free
 *      (`frame-pool.ts`).
 *   4. An entry, its bytes and its memory change only between `begin` and `end`. Both are in one turn.
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
import { GRANULE_BYTES } from './pages.ts';

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
  /** The granules that were present in the entry before the change that is under way. */
  #presentBefore = 0;
  #heldBefore = 0;

  /** @param onFreed called when a granule was dropped or was released. It must not change pages. */
  constructor(memory: PageMemory, onFreed: () => void) {
    this.memory = memory;
    this.pool = new FramePool(memory.frameCount);
    this.#words = memory.words;
    this.#nextEntry = memory.entriesAt;
    this.#onFreed = onFreed;
  }

  /** Bytes of memory that entries have. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Bytes of memory that cannot be evicted because something in it is held. */
  get heldBytes(): number {
    return this.#heldBytes;
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

  /** True when the entry was used since {@link forgetUse}. */
  wasUsed(entry: number): boolean {
    return this.#words[entry + USED] !== 0;
  }

  noteUse(entry: number): void {
    this.#words[entry + USED] = 1;
  }

  forgetUse(entry: number): void {
    this.#words[entry + USED] = 0;
  }

  /** Begins a change of an entry. Changes do not nest. */
  begin(entry: number): void {
    beginChange(this.#words, entry);
    this.#presentBefore = this.presentOf(entry);
    this.#heldBefore = this.heldOf(entry);
    this.#count(entry, -1);
  }

  /** Ends a change. An entry without any granule becomes free. */
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
   * Gives an entry without a frame this one. Granules that are not absent are copied into it. Between `begin`
   * and `end`.
   */
  giveFrame(entry: number, frame: number): void {
    const { memory, pool } = this;
    for (let left = this.presentOf(entry); left !== 0; left &= left - 1) {
      const granule = lowestBit(left);
      const from = this.subframeOf(entry, granule);
      copySubframe(memory, from, frame * BLOCK_GRANULES + granule);
      this.#freeSubframe(entry, granule);
    }
    this.#words[entry + FRAME] = frame + 1;
    pool.setOwner(frame * BLOCK_GRANULES, entry);
  }

  /** Gives an absent granule of an entry without a frame this subframe. Between `begin` and `end`. */
  giveSubframe(entry: number, granule: number, subframe: number): void {
    this.#words[entry + SUBFRAMES + granule] = subframe + 1;
    this.pool.setOwner(subframe, entry + granule);
  }

  /** Gives a granule another subframe, with its bytes. Between `begin` and `end`. */
  moveSubframe(entry: number, granule: number, subframe: number): void {
    copySubframe(this.memory, this.subframeOf(entry, granule), subframe);
    this.#freeSubframe(entry, granule);
    this.giveSubframe(entry, granule, subframe);
  }

  /**
   * Copies to the bytes [start, end) of a block, whose granules have memory. Where `from` ends, zeros follow.
   * Between `begin` and `end`.
   */
  copyIn(entry: number, start: number, end: number, from: Uint8Array, fromOffset: number): void {
    for (let at = start; at < end; ) {
      const next = this.#pieceEnd(entry, at, end);
      const subframe = this.subframeOf(entry, Math.floor(at / GRANULE_BYTES));
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
      const subframe = this.subframeOf(entry, Math.floor(at / GRANULE_BYTES));
      const slab = slabOf(this.memory, Math.floor(subframe / BLOCK_GRANULES));
      const offset = subframeOffset(subframe) + (at % GRANULE_BYTES);
      copyRange(slab, offset, into, intoOffset + at - start, next - at);
      at = next;
    }
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

  /**
   * Takes an entry out of its bucket and its file. It keeps its link to the next one, for readers that are at
   * it.
   */
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

  /** Returns the memory of a granule that is not absent; -1 for an absent one. */
  subframeOf(entry: number, granule: number): number {
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
