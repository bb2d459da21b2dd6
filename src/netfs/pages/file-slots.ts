/**
 * What other threads may know of a file: a slot of 64 bytes in the shared memory of a page cache.
 *
 *   word  slot
 *      0  sequence number, odd while the slot is being changed
 *      1  how often the sequence number has gone round
 *      2  generation: how many files had the slot before
 *    3-6  digest of the file's key; zeros while the slot is free
 *    7-8  size in bytes: low and high word
 *   9-10  fresh until: milliseconds as `process.hrtime` counts, low and high word
 *     11  cuts: how often bytes that were cached stopped being the file's
 *
 * Every file has a number, which its entries carry. The numbers from 1 to the count of slots are those of the
 * slots. A file beyond them has a number and no slot, and other threads miss it.
 *
 * A reader that has found its bytes looks at the generation again. If that is still the one it was given, the
 * entries it has read were this file's: a slot's generation changes before any entry of the next file is
 * made. A slot whose generations are used up is never given out again.
 */
import { hash } from 'node:crypto';
import {
  beginChange,
  endChange,
  isUnchanged,
  type PageMemory,
  ROUNDS,
  SLOT_WORDS,
  seqOf,
} from './page-memory.ts';

const GENERATION = 2;
const DIGEST = 3;
const DIGEST_WORDS = 4;
const SIZE = 7;
const FRESH = 9;
const CUTS = 11;

export const GENERATION_MAX = 0x7fff_ffff;
/** The latest time: the file stays fresh for ever. */
export const FOREVER_MS: number = Number.MAX_SAFE_INTEGER;

/** A file, for other threads. Post it as it is. */
export interface PageFileRef {
  readonly number: number;
  readonly generation: number;
}

/** What a slot said at one moment. */
export interface SlotFacts {
  number: number;
  generation: number;
  /** The slot's sequence number then. */
  seq: number;
  rounds: number;
  sizeBytes: number;
  freshUntilMs: number;
  cuts: number;
}

/** Returns the word that the slot of a file begins at. The slots come first, and number 0 is no file. */
function slotAt(number: number): number {
  return number * SLOT_WORDS;
}

function setWide(words: Int32Array, at: number, value: number): void {
  Atomics.store(words, at, value | 0);
  Atomics.store(words, at + 1, Math.floor(value / 0x1_0000_0000));
}

function getWide(words: Int32Array, at: number): number {
  const low = Atomics.load(words, at) >>> 0;
  return Atomics.load(words, at + 1) * 0x1_0000_0000 + low;
}

function digestOf(key: Uint8Array): Int32Array {
  const digest = hash('sha256', key, 'buffer');
  return Int32Array.from(
    { length: DIGEST_WORDS },
    (_, at) => digest.readInt32LE(at * 4) | (at === 0 ? 1 : 0),
  );
}

/** Gives numbers and slots to files. For the one thread that changes. */
export class FileSlots {
  readonly #memory: PageMemory;
  /** Numbers that were given back. */
  readonly #free: number[] = [];
  readonly #freeWithoutSlot: number[] = [];
  #nextNumber = 1;
  #nextWithoutSlot: number;

  constructor(memory: PageMemory) {
    this.#memory = memory;
    this.#nextWithoutSlot = memory.slotCount + 1;
  }

  /** Returns a number for a file. Readers find the file by its key, and believe nothing of it yet. */
  add(key: Uint8Array): number {
    const { words, slotCount } = this.#memory;
    let number = this.#free.pop();
    if (number === undefined && this.#nextNumber <= slotCount) {
      number = this.#nextNumber;
      this.#nextNumber += 1;
    }
    if (number === undefined) return this.#addWithoutSlot();
    const at = slotAt(number);
    beginChange(words, at);
    words.set(digestOf(key), at + DIGEST);
    setWide(words, at + SIZE, 0);
    setWide(words, at + FRESH, 0);
    endChange(words, at);
    return number;
  }

  #addWithoutSlot(): number {
    const number = this.#freeWithoutSlot.pop() ?? this.#nextWithoutSlot;
    if (number === this.#nextWithoutSlot) this.#nextWithoutSlot += 1;
    return number;
  }

  /** Makes readers miss the file. Then its entries can be dropped, and `giveBack` may follow. */
  hide(number: number): void {
    const { words, slotCount } = this.#memory;
    if (number > slotCount) return;
    const at = slotAt(number);
    beginChange(words, at);
    Atomics.store(words, at + GENERATION, (words[at + GENERATION] ?? 0) + 1);
    words.fill(0, at + DIGEST, at + DIGEST + DIGEST_WORDS);
    setWide(words, at + FRESH, 0);
    endChange(words, at);
  }

  /** Makes readers miss all files. */
  hideAll(): void {
    const { words } = this.#memory;
    for (let number = 1; number < this.#nextNumber; number += 1) {
      if (words[slotAt(number) + DIGEST] !== 0) this.hide(number);
    }
  }

  /** Takes a number back. The file was hidden before, and no entry carries its number any more. */
  giveBack(number: number): void {
    const { words, slotCount } = this.#memory;
    if (number > slotCount) this.#freeWithoutSlot.push(number);
    else if ((words[slotAt(number) + GENERATION] ?? 0) < GENERATION_MAX) this.#free.push(number);
  }

  publish(number: number, sizeBytes: number, freshUntilNs: bigint): void {
    const { words, slotCount } = this.#memory;
    if (number > slotCount) return;
    const at = slotAt(number);
    beginChange(words, at);
    setWide(words, at + SIZE, sizeBytes);
    setWide(words, at + FRESH, Math.min(FOREVER_MS, Math.floor(Number(freshUntilNs) / 1e6)));
    endChange(words, at);
  }

  /**
   * Notes that bytes which are cached are about to stop being the file's. It has at most `sizeBytes` left.
   */
  cut(number: number, sizeBytes: number): void {
    const { words, slotCount } = this.#memory;
    if (number > slotCount) return;
    const at = slotAt(number);
    beginChange(words, at);
    if (getWide(words, at + SIZE) > sizeBytes) setWide(words, at + SIZE, sizeBytes);
    Atomics.store(words, at + CUTS, ((words[at + CUTS] ?? 0) + 1) | 0);
    endChange(words, at);
  }

  /** Returns what another thread can be given to read the file; undefined when it has no slot. */
  refOf(number: number): PageFileRef | undefined {
    const { words, slotCount } = this.#memory;
    if (number > slotCount) return undefined;
    return { number, generation: words[slotAt(number) + GENERATION] ?? 0 };
  }
}

/** Looks a file up by its key. Any thread; undefined when there is none, or none with a slot. */
export function findFile({ words, slotCount }: PageMemory, key: Uint8Array): PageFileRef | undefined {
  const digest = digestOf(key);
  for (let number = 1; number <= slotCount; number += 1) {
    const at = slotAt(number);
    const seq = seqOf(words, at);
    if (words[at + DIGEST] !== digest[0]) continue;
    const rounds = words[at + ROUNDS] ?? 0;
    const generation = words[at + GENERATION] ?? 0;
    const isSame = digest.every((word, index) => words[at + DIGEST + index] === word);
    if (isSame && (seq & 1) === 0 && isUnchanged(words, at, seq, rounds)) return { number, generation };
  }
  return undefined;
}

/** Returns facts of no file, to load others into. */
export function noFacts(): SlotFacts {
  return { number: 0, generation: 0, seq: 0, rounds: 0, sizeBytes: 0, freshUntilMs: 0, cuts: 0 };
}

/**
 * Loads what a slot says now into `facts`. Any thread. Returns false when the slot is another file's by now,
 * or is just being changed; then the facts are of no file.
 *
 * All loads are atomic, so they are done in order, and nothing needs to be written at the end: the slot of a
 * file that many threads read stays in the caches of all of them.
 */
export function loadFacts(
  { words, slotCount }: PageMemory,
  { number, generation }: PageFileRef,
  facts: SlotFacts,
): boolean {
  facts.number = 0;
  if (!(number >= 1 && number <= slotCount)) return false;
  const at = slotAt(number);
  const seq = seqOf(words, at);
  const rounds = Atomics.load(words, at + ROUNDS);
  if ((seq & 1) !== 0 || Atomics.load(words, at + GENERATION) !== generation) return false;
  facts.sizeBytes = getWide(words, at + SIZE);
  facts.freshUntilMs = getWide(words, at + FRESH);
  facts.cuts = Atomics.load(words, at + CUTS);
  if (seqOf(words, at) !== seq || Atomics.load(words, at + ROUNDS) !== rounds) return false;
  facts.number = number;
  facts.generation = generation;
  facts.seq = seq;
  facts.rounds = rounds;
  return true;
}

/** True when the facts are of this file, and its slot was not changed since. */
export function areCurrent(
  { words }: PageMemory,
  { number, generation }: PageFileRef,
  facts: SlotFacts,
): boolean {
  if (facts.number !== number || facts.generation !== generation) return false;
  const at = slotAt(number);
  return seqOf(words, at) === facts.seq && words[at + ROUNDS] === facts.rounds;
}
