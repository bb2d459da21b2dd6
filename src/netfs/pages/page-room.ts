/**
 * Memory for pages: taking it, if need be from others. For the thread that changes pages.
 *
 * Invariants
 *   1. Eviction never takes a held granule, a granule of the entry that memory is being taken for, or memory
 *      that is being filled (no entry names it).
 *   2. What was taken for an entry is placed before anything else is taken.
 *   3. A frame can be had as long as there is one frame's worth of memory that is free, or could be evicted
 *      as a whole: free subframes of several frames are joined by moving the others.
 *
 * Eviction gives each entry a second chance. A hand goes over the frames in the order of their addresses: an
 * entry that was used since the hand passed stays, and counts as unused from then on. So what is evicted one
 * after the other lies side by side, and so does what is cached next.
 */
import { countBits, lowestBit } from './bits.ts';
import { ALL_GRANULES, BLOCK_BYTES, BLOCK_GRANULES, ENTRY_WORDS } from './page-memory.ts';
import type { PageTable } from './page-table.ts';

/** A block that holds more granules than this has a frame of its own. */
const SUBFRAMES_MAX = BLOCK_GRANULES / 2;

export class PageRoom {
  readonly #table: PageTable;
  readonly #onFreed: () => void;
  /** The frame that eviction looks at next. */
  #hand = 0;
  /** The entry that memory is being taken for. */
  #busy = 0;
  /** Memory that was taken and not placed: a frame, or subframes by granule; -1 for none. */
  #takenFrame = -1;
  readonly #takenSubframes = new Int32Array(BLOCK_GRANULES);
  #fillingBytes = 0;

  /** @param onFreed called when memory that was being filled was given back. It must not change pages. */
  constructor(table: PageTable, onFreed: () => void) {
    this.#table = table;
    this.#onFreed = onFreed;
  }

  /** Bytes of memory that is being filled. */
  get fillingBytes(): number {
    return this.#fillingBytes;
  }

  /**
   * Takes memory for absent granules of a block, if need be from others. A block that would hold many gets a
   * frame for all of them. `place` must follow, before anything else is done.
   *
   * @param entry 0 when the block has none yet. Not being changed.
   * @param wantsFrame true: a frame even for few granules.
   * @param after the frame that the block's own frame should come behind; -1 for none.
   * @param runLength how many frames will be taken one after the other.
   * @returns those that got memory: all of them, or those below the first one that got none.
   */
  take(entry: number, absent: number, wantsFrame: boolean, after: number, runLength: number): number {
    this.#takenFrame = -1;
    if (entry !== 0 && this.#table.hasFrame(entry)) return absent;
    const present = entry === 0 ? 0 : this.#table.presentOf(entry);
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
    if (this.#takenFrame >= 0) {
      this.#table.giveFrame(entry, this.#takenFrame);
      this.#takenFrame = -1;
    } else if (!this.#table.hasFrame(entry)) {
      for (let left = granted; left !== 0; left &= left - 1) {
        const granule = lowestBit(left);
        const subframe = this.#takenSubframes[granule] ?? 0;
        this.#table.giveSubframe(entry, granule, subframe);
      }
    }
  }

  /** Takes a frame, if need be from others. Returns -1 when there is none. */
  takeFrame(after: number, runLength: number): number {
    return this.#makeFrameFree() ? this.#table.pool.takeFrame(after, runLength) : -1;
  }

  /** Takes a frame for bytes to come, which no entry names meanwhile. Returns -1 when there is none. */
  takeFilling(after: number, runLength: number): number {
    const frame = this.takeFrame(after, runLength);
    if (frame >= 0) this.#fillingBytes += BLOCK_BYTES;
    return frame;
  }

  /** Notes that the frame is not being filled any more. The caller gives it to an entry, or it is freed. */
  endFilling(frame: number, isFreed: boolean): void {
    this.#fillingBytes -= BLOCK_BYTES;
    if (!isFreed) return;
    this.#table.pool.freeFrame(frame);
    this.#onFreed();
  }

  #takeSubframes(entry: number, absent: number): number {
    const first = lowestBit(absent);
    let last = entry === 0 || first === 0 ? -1 : this.#table.subframeOf(entry, first - 1);
    let granted = 0;
    for (let left = absent; left !== 0; left &= left - 1) {
      if (!this.#makeSubframeFree()) break;
      last = this.#table.pool.takeSubframe(last);
      const granule = lowestBit(left);
      this.#takenSubframes[granule] = last;
      granted |= 1 << granule;
    }
    return granted;
  }

  #makeFrameFree(): boolean {
    const { pool } = this.#table;
    for (let steps = 2 * pool.frameCount; pool.freeFrames === 0 && steps > 0; steps -= 1) {
      if (pool.freeSubframes >= BLOCK_GRANULES && this.#joinFreeSubframes()) break;
      if (!this.#hasClean()) break;
      this.#moveHand();
    }
    return pool.freeFrames > 0;
  }

  #makeSubframeFree(): boolean {
    const { pool } = this.#table;
    let steps = 2 * pool.frameCount;
    while (pool.freeSubframes === 0 && pool.freeFrames === 0) {
      if (steps === 0 || !this.#hasClean()) return false;
      this.#moveHand();
      steps -= 1;
    }
    return true;
  }

  #hasClean(): boolean {
    return this.#table.usedBytes > this.#table.heldBytes;
  }

  /** Evicts what can be evicted from the frame at the hand. */
  #moveHand(): void {
    const frame = this.#hand;
    this.#hand = frame + 1 < this.#table.pool.frameCount ? frame + 1 : 0;
    if (this.#table.pool.isWhole(frame)) this.#evictFrame(frame);
    else if (this.#table.pool.isSplit(frame)) this.#evictSubframes(frame);
  }

  #evictFrame(frame: number): void {
    const entry = this.#table.pool.ownerOf(frame * BLOCK_GRANULES);
    // The entry that memory is being taken for has no frame.
    if (entry === 0 || this.#table.heldOf(entry) !== 0) return;
    if (this.#table.wasUsed(entry)) {
      this.#table.forgetUse(entry);
      return;
    }
    this.#table.begin(entry);
    this.#table.drop(entry, ALL_GRANULES);
    this.#table.end(entry);
  }

  #evictSubframes(frame: number): void {
    const { pool } = this.#table;
    const first = frame * BLOCK_GRANULES;
    // An entry may have several subframes here. All are judged by its last use, so that is cleared only at
    // the end.
    let spared = 0;
    for (let index = 0; index < BLOCK_GRANULES && pool.isSplit(frame); index += 1) {
      const owner = pool.ownerOf(first + index);
      const granule = owner % ENTRY_WORDS;
      const entry = owner - granule;
      if (entry === 0 || entry === this.#busy || (this.#table.heldOf(entry) & (1 << granule)) !== 0) continue;
      if (this.#table.wasUsed(entry)) {
        spared |= 1 << index;
        continue;
      }
      this.#table.begin(entry);
      this.#table.drop(entry, 1 << granule);
      this.#table.end(entry);
    }
    for (let left = spared; left !== 0; left &= left - 1) {
      const owner = pool.ownerOf(first + lowestBit(left));
      this.#table.forgetUse(owner - (owner % ENTRY_WORDS));
    }
  }

  /** Makes a frame free by moving the subframes of one that has few. Returns false when it could not. */
  #joinFreeSubframes(): boolean {
    const { pool } = this.#table;
    const frame = pool.emptiestSplit();
    const first = frame * BLOCK_GRANULES;
    for (let index = 0; index < BLOCK_GRANULES && pool.isSplit(frame); index += 1) {
      const owner = pool.ownerOf(first + index);
      if (owner === 0) continue;
      const target = pool.takeSubframeNotIn(frame);
      if (target < 0) return false;
      const granule = owner % ENTRY_WORDS;
      const entry = owner - granule;
      this.#table.begin(entry);
      this.#table.moveSubframe(entry, granule, target);
      this.#table.end(entry);
    }
    return !pool.isSplit(frame);
  }
}
