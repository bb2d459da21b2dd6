/**
 * Which frames and subframes are free, and which entry the others belong to. For the thread that changes.
 *
 * Invariants
 *   1. A frame is free, whole (lent as one) or split. A split frame has at least one subframe that is lent.
 *   2. The split frames that have free subframes are in the list, and no others.
 *   3. `freeSubframes` counts the free subframes of split frames.
 *
 *   free ──takeFrame──▶ whole ──freeFrame──▶ free
 *   free ──takeSubframe──▶ split ──last freeSubframe──▶ free
 */
import { NetsealError } from '../../base/errors.ts';
import { countBits, lowestBit } from './bits.ts';
import { ALL_GRANULES, BLOCK_GRANULES, isFollowed } from './page-memory.ts';

const FREE = 0;
const WHOLE = 1;
const SPLIT = 2;

/** What the pool keeps for a frame: owners of its subframes, kind, free subframes, two links. */
export const POOL_BYTES_PER_FRAME: number = BLOCK_GRANULES * 4 + 1 + 2 + 8 + 1;

/** The search for neighbouring frames looks at so many runs of free ones. */
const RUNS_SEEN_MAX = 64;

export class FramePool {
  readonly frameCount: number;
  /** A bit for each frame, set when it is free. */
  readonly #freeMap: Int32Array;
  readonly #kinds: Uint8Array;
  /** For each subframe of a split frame, and for the first one of a whole frame: see {@link setOwner}. */
  readonly #owners: Int32Array;
  readonly #freeSets: Uint16Array;
  /** The list of split frames with free subframes: frame + 1, 0 is none. */
  readonly #previous: Int32Array;
  readonly #next: Int32Array;
  #first = 0;
  #freeFrames: number;
  #freeSubframes = 0;
  /** Where the search for a free frame goes on. */
  #cursor = 0;

  constructor(frameCount: number) {
    this.frameCount = frameCount;
    this.#freeMap = new Int32Array(Math.ceil(frameCount / 32));
    this.#kinds = new Uint8Array(frameCount);
    this.#owners = new Int32Array(frameCount * BLOCK_GRANULES);
    this.#freeSets = new Uint16Array(frameCount);
    this.#previous = new Int32Array(frameCount);
    this.#next = new Int32Array(frameCount);
    this.#freeFrames = frameCount;
    for (let frame = 0; frame < frameCount; frame += 1) this.#setFree(frame, true);
  }

  get freeFrames(): number {
    return this.#freeFrames;
  }

  get freeSubframes(): number {
    return this.#freeSubframes;
  }

  isWhole(frame: number): boolean {
    return this.#kinds[frame] === WHOLE;
  }

  isSplit(frame: number): boolean {
    return this.#kinds[frame] === SPLIT;
  }

  /**
   * Returns what {@link setOwner} said of a subframe; 0 when it said nothing since the subframe was taken.
   */
  ownerOf(subframe: number): number {
    return this.#owners[subframe] ?? 0;
  }

  /**
   * Notes who has a subframe, or a whole frame by its first subframe.
   *
   * @param owner an entry + the granule. Entries are multiples of more than the granules of a block.
   */
  setOwner(subframe: number, owner: number): void {
    this.#owners[subframe] = owner;
  }

  /**
   * Takes a frame, if it can be the one behind `after`. Otherwise it begins a run of `runLength` free ones,
   * or of as many as there are. Returns -1 when none is free.
   */
  takeFrame(after: number, runLength: number): number {
    if (this.#freeFrames === 0) return -1;
    const isNextFree = after >= 0 && isFollowed(after) && this.#isFree(after + 1);
    const frame = isNextFree ? after + 1 : this.#findRun(runLength);
    this.#take(frame, WHOLE);
    return frame;
  }

  freeFrame(frame: number): void {
    if (this.#kinds[frame] !== WHOLE) throw new NetsealError('EBUG', `frame ${frame} is freed, and not lent`);
    this.#free(frame);
  }

  /** Takes a subframe, if possible the one behind `after`. Returns -1 when none is free, and no frame. */
  takeSubframe(after: number): number {
    const next = after + 1;
    const isNextFree =
      after >= 0 &&
      next % BLOCK_GRANULES !== 0 &&
      ((this.#freeSets[Math.floor(next / BLOCK_GRANULES)] ?? 0) & (1 << (next % BLOCK_GRANULES))) !== 0;
    if (isNextFree) return this.#takeSub(Math.floor(next / BLOCK_GRANULES), next % BLOCK_GRANULES);
    if (this.#first === 0) {
      if (this.#freeFrames === 0) return -1;
      this.#split(this.#findRun(1));
    }
    const frame = this.#first - 1;
    return this.#takeSub(frame, lowestBit(this.#freeSets[frame] ?? 0));
  }

  freeSubframe(subframe: number): void {
    const frame = Math.floor(subframe / BLOCK_GRANULES);
    const bit = 1 << (subframe % BLOCK_GRANULES);
    const before = this.#freeSets[frame] ?? 0;
    if (this.#kinds[frame] !== SPLIT || (before & bit) !== 0) {
      throw new NetsealError('EBUG', `subframe ${subframe} is freed, and not lent`);
    }
    this.#owners[subframe] = 0;
    this.#freeSets[frame] = before | bit;
    this.#freeSubframes += 1;
    if (before === 0) this.#list(frame);
    if ((before | bit) !== ALL_GRANULES) return;
    this.#unlist(frame);
    this.#freeSubframes -= BLOCK_GRANULES;
    this.#freeSets[frame] = 0;
    this.#free(frame);
  }

  /** Returns the split frame with the most free subframes; -1 when no split frame has any. */
  emptiestSplit(): number {
    let emptiest = -1;
    let freeMax = 0;
    for (let link = this.#first; link !== 0; link = this.#next[link - 1] ?? 0) {
      const free = countBits(this.#freeSets[link - 1] ?? 0);
      if (free <= freeMax) continue;
      freeMax = free;
      emptiest = link - 1;
    }
    return emptiest;
  }

  /** Takes a subframe of any split frame but this one; -1 when there is none. */
  takeSubframeNotIn(frame: number): number {
    const first = this.#first - 1;
    const other = first === frame ? (this.#next[frame] ?? 0) - 1 : first;
    return other < 0 ? -1 : this.#takeSub(other, lowestBit(this.#freeSets[other] ?? 0));
  }

  #takeSub(frame: number, index: number): number {
    const left = (this.#freeSets[frame] ?? 0) & ~(1 << index);
    this.#freeSets[frame] = left;
    this.#freeSubframes -= 1;
    if (left === 0) this.#unlist(frame);
    return frame * BLOCK_GRANULES + index;
  }

  #split(frame: number): void {
    this.#take(frame, SPLIT);
    this.#freeSets[frame] = ALL_GRANULES;
    this.#freeSubframes += BLOCK_GRANULES;
    this.#list(frame);
  }

  #take(frame: number, kind: number): void {
    this.#setFree(frame, false);
    this.#kinds[frame] = kind;
    this.#freeFrames -= 1;
    this.#cursor = frame + 1 < this.frameCount ? frame + 1 : 0;
  }

  #free(frame: number): void {
    this.#kinds[frame] = FREE;
    this.#owners[frame * BLOCK_GRANULES] = 0;
    this.#setFree(frame, true);
    if (this.#freeFrames === 0) this.#cursor = frame;
    this.#freeFrames += 1;
  }

  #list(frame: number): void {
    this.#previous[frame] = 0;
    this.#next[frame] = this.#first;
    if (this.#first !== 0) this.#previous[this.#first - 1] = frame + 1;
    this.#first = frame + 1;
  }

  #unlist(frame: number): void {
    const previous = this.#previous[frame] ?? 0;
    const next = this.#next[frame] ?? 0;
    if (previous === 0) this.#first = next;
    else this.#next[previous - 1] = next;
    if (next !== 0) this.#previous[next - 1] = previous;
  }

  #isFree(frame: number): boolean {
    return ((this.#freeMap[frame >>> 5] ?? 0) & (1 << (frame & 31))) !== 0;
  }

  #setFree(frame: number, isFree: boolean): void {
    const bit = 1 << (frame & 31);
    const word = this.#freeMap[frame >>> 5] ?? 0;
    this.#freeMap[frame >>> 5] = isFree ? word | bit : word & ~bit;
  }

  /**
   * Returns where the first long enough run of free frames begins, from the cursor on; else the longest seen.
   */
  #findRun(wanted: number): number {
    let longest = -1;
    let lengthMax = 0;
    let from = this.#cursor;
    let end = this.frameCount;
    for (let runs = 0; runs < RUNS_SEEN_MAX; runs += 1) {
      const start = this.#nextFree(from, end);
      if (start === end) {
        // The rest lies before the cursor.
        if (end !== this.frameCount || this.#cursor === 0) break;
        from = 0;
        end = this.#cursor;
        continue;
      }
      const length = this.#runFrom(start, end, wanted);
      if (length > lengthMax) [longest, lengthMax] = [start, length];
      if (lengthMax >= wanted) break;
      from = start + length;
    }
    return longest;
  }

  /** Returns the first free frame of [from, end); `end` when there is none. */
  #nextFree(from: number, end: number): number {
    for (let at = from; at < end; at = (at | 31) + 1) {
      const word = (this.#freeMap[at >>> 5] ?? 0) & (-1 << (at & 31));
      if (word !== 0) return Math.min(end, (at & ~31) + lowestBit(word));
    }
    return end;
  }

  #runFrom(start: number, end: number, wanted: number): number {
    let at = start;
    while (at < end && at - start < wanted && this.#isFree(at)) at += 1;
    return at - start;
  }
}
