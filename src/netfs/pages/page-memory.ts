/**
 * The shared memory of a page cache: what lies where, and how it is changed while other threads read it.
 * These are pure functions on it, for any thread.
 *
 * Bytes lie in frames of 64 KiB. A frame holds one block of a file, or is split into sixteen subframes of 4
 * KiB, each of which holds one granule. A table of 32-bit words says what each frame and subframe holds. It
 * has three parts: the slots of files (`file-slots.ts`), entries, and buckets that lead to entries.
 *
 * An entry stands for a block of a file (64 KiB) that has any bytes in memory:
 *
 *   word  entry, 128 bytes
 *      0  sequence number, odd while the entry or its bytes are being changed
 *      1  how often the sequence number has gone round
 *      2  number of the file; 0 for a free entry
 *    3-4  block: low and high word
 *      5  uptodate granules (16 bits) | held granules << 16
 *      6  frame + 1; 0 when the block lies in subframes
 *      7  next entry of the same bucket
 *      8  not 0: used since the hand of eviction passed
 *   9-10  previous and next entry of the same file; for the thread that changes only
 *  16-31  subframe + 1 of each granule; 0 for an absent one
 *
 * Entries refer to each other by the word that they begin at; 0 is none.
 *
 * How threads agree
 *   1. One thread changes. It makes the sequence number odd, changes words and bytes, and makes it even
 *      again, all in one turn. See {@link beginChange} and {@link endChange}.
 *   2. A reader loads the number, looks at the words, copies bytes, and compares the number: {@link seqOf},
 *      {@link isUnchanged}. If it is the same and even, the copy is of one state, and that state is the
 *      entry's.
 *   3. A frame gets new bytes only after every entry that led to it was changed. So whoever copied from a
 *      frame that was used again finds another number.
 *   4. Sequence numbers go on for as long as the memory lives, whatever block an entry stands for. So an
 *      entry that was given to another block, and back again, is told apart.
 *   5. Everything else that a reader meets is a hint: entries may be moved while it walks their chain. So it
 *      checks the key after it has loaded the number. No word ever leads outside the memory.
 *
 * Why that holds in the memory model of JavaScript, on any processor
 *   - A reader finds an even number: it was stored after all that it counts, so the reader sees that.
 *   - The last look of a reader, `Atomics.add(.., 0)`, also writes the number. If it still finds the first
 *     number, the next change comes after it, and begins by reading what it wrote: `Atomics.add(.., 1)`. So
 *     all that the reader copied was copied before anything of that change was written. With a load in place
 *     of either, the copy could hold bytes that are newer than the number.
 *   - Between the two, words are read as they come. The number tells whether they belonged together.
 */
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { roundUp } from '../../base/geometry.ts';
import { GRANULE_BYTES } from './pages.ts';

/** What a frame holds, and what an entry stands for. */
export const BLOCK_BYTES: number = 64 * 1024;
export const BLOCK_GRANULES: number = BLOCK_BYTES / GRANULE_BYTES;
/** A bit for each granule of a block. */
export const ALL_GRANULES: number = 2 ** BLOCK_GRANULES - 1;

/** The words of an entry. */
export const SEQ = 0;
export const ROUNDS = 1;
export const FILE = 2;
export const BLOCK_LOW = 3;
export const BLOCK_HIGH = 4;
export const STATE = 5;
export const FRAME = 6;
export const NEXT = 7;
export const USED = 8;
export const FILE_PREVIOUS = 9;
export const FILE_NEXT = 10;
export const SUBFRAMES = 16;
export const ENTRY_WORDS = 32;

/** Held granules stand above the uptodate ones. */
export const HELD_SHIFT = 16;

/** The words of a file's slot; see `file-slots.ts`. */
export const SLOT_WORDS = 16;

/** One slab is one view: offsets within it stay below 2^30. */
const SLAB_FRAMES_LOG2 = 14;
const SLAB_FRAMES = 2 ** SLAB_FRAMES_LOG2;
/** Words of the table are counted in 31 bits. */
const FRAMES_MAX = 2 ** 20;
/** Buckets of neighbouring blocks stand side by side, up to this many. */
const BUCKET_NEIGHBOURS = 8;

/** What other threads are given. Post it as it is. */
export interface PageMemory {
  /** Slots, entries and buckets, in this order. */
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly slotCount: number;
  readonly entriesAt: number;
  readonly entryCount: number;
  readonly bucketsAt: number;
  readonly bucketCount: number;
  readonly frameCount: number;
  /** The frames. Each slab but the last has 16,384. */
  readonly slabs: readonly Uint8Array<SharedArrayBuffer>[];
}

/** Each subframe may be the only one of its block. There are two buckets an entry. */
const FRAME_TABLE_BYTES = BLOCK_GRANULES * (ENTRY_WORDS + 2) * 4;

/**
 * Makes the memory, all of it within `budgetBytes`. EINVAL when not one frame fits, or the system does not
 * give so much.
 *
 * @param ownBytesPerFrame what the caller keeps for each frame besides.
 */
export function createPageMemory(
  budgetBytes: number,
  slotCount: number,
  ownBytesPerFrame: number,
): PageMemory {
  const fixedBytes = (slotCount * SLOT_WORDS + ENTRY_WORDS + BUCKET_NEIGHBOURS) * 4;
  const frameCount = Math.floor(
    (budgetBytes - fixedBytes) / (BLOCK_BYTES + FRAME_TABLE_BYTES + ownBytesPerFrame),
  );
  requireArgument(
    frameCount > 0 && frameCount <= FRAMES_MAX,
    `a page cache has from one frame to 64 GiB, and not ${budgetBytes} bytes`,
  );
  const entryCount = frameCount * BLOCK_GRANULES;
  // Entries begin at multiples of their length.
  const entriesAt = roundUp((slotCount + 1) * SLOT_WORDS, ENTRY_WORDS);
  const bucketsAt = entriesAt + entryCount * ENTRY_WORDS;
  const bucketCount = 2 * entryCount;
  try {
    const slabs: Uint8Array<SharedArrayBuffer>[] = [];
    for (let left = frameCount; left > 0; left -= SLAB_FRAMES) {
      slabs.push(new Uint8Array(new SharedArrayBuffer(Math.min(left, SLAB_FRAMES) * BLOCK_BYTES)));
    }
    const words = new Int32Array(new SharedArrayBuffer((bucketsAt + bucketCount + BUCKET_NEIGHBOURS) * 4));
    return { words, slotCount, entriesAt, entryCount, bucketsAt, bucketCount, frameCount, slabs };
  } catch (cause) {
    throw new NetsealError('EINVAL', `the system does not give ${budgetBytes} bytes for pages`, { cause });
  }
}

/** Returns the slab that a frame lies in. */
export function slabOf({ slabs }: PageMemory, frame: number): Uint8Array<SharedArrayBuffer> {
  const slab = slabs[frame >>> SLAB_FRAMES_LOG2];
  if (slab === undefined) throw new NetsealError('EBUG', `there is no frame ${frame}`);
  return slab;
}

/** Returns the offset of a frame in its slab. */
export function offsetOf(frame: number): number {
  return (frame & (SLAB_FRAMES - 1)) * BLOCK_BYTES;
}

/** True when the bytes of `frame` end where those of the next one begin. */
export function isFollowed(frame: number): boolean {
  return ((frame + 1) & (SLAB_FRAMES - 1)) !== 0;
}

/** Returns the upper word of a block's number. */
export function highOf(block: number): number {
  return Math.floor(block / 0x1_0000_0000);
}

/** Returns the word of the bucket that a block belongs to. */
export function bucketOf({ bucketsAt, bucketCount }: PageMemory, file: number, block: number): number {
  const low = block | 0;
  let hash =
    Math.imul(file, 0x9e37_79b1) ^ Math.imul(low >>> 3, 0x85eb_ca6b) ^ Math.imul(highOf(block), 0x27d4_eb2f);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d);
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a_2d39);
  hash ^= hash >>> 15;
  const first = Math.floor(((hash >>> 0) * bucketCount) / 0x1_0000_0000);
  return bucketsAt + first + (low & (BUCKET_NEIGHBOURS - 1));
}

/** True when the entry stands for this block. */
export function isKey(words: Int32Array, at: number, file: number, block: number): boolean {
  return (
    words[at + BLOCK_LOW] === (block | 0) &&
    words[at + FILE] === file &&
    words[at + BLOCK_HIGH] === highOf(block)
  );
}

/**
 * Returns the entry of a block; 0 when there is none. On a thread that does not change entries it is a hint,
 * and 0 may be wrong.
 */
export function findEntry(memory: PageMemory, file: number, block: number): number {
  const { words, entryCount } = memory;
  let at = words[bucketOf(memory, file, block)] ?? 0;
  // A chain has no circle. But a reader may be led from one to the next while entries move.
  for (let steps = 0; at !== 0 && steps < entryCount; steps += 1) {
    if (isKey(words, at, file, block)) return at;
    at = words[at + NEXT] ?? 0;
  }
  return 0;
}

/** Loads the sequence number at the start of a read. Odd: it is being changed. */
export function seqOf(words: Int32Array, at: number): number {
  return Atomics.load(words, at + SEQ);
}

/** True when nothing was changed since the sequence number was `seq` and had gone round `rounds` times. */
export function isUnchanged(words: Int32Array, at: number, seq: number, rounds: number): boolean {
  return Atomics.add(words, at + SEQ, 0) === seq && words[at + ROUNDS] === rounds;
}

/** Begins a change. For the one thread that changes. EBUG when there are two, or a change has not ended. */
export function beginChange(words: Int32Array, at: number): void {
  if ((Atomics.add(words, at + SEQ, 1) & 1) === 0) return;
  throw new NetsealError('EBUG', 'pages are changed by two at once');
}

/** Ends a change. */
export function endChange(words: Int32Array, at: number): void {
  const even = ((words[at + SEQ] ?? 0) + 1) | 0;
  if (even === 0) words[at + ROUNDS] = (words[at + ROUNDS] ?? 0) + 1;
  Atomics.store(words, at + SEQ, even);
}
