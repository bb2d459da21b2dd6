/**
 * Ghosts: what was dropped a while ago without having been asked for again. Who comes back is worth keeping. Four bytes each, in sets
 * of 32 of which the oldest is replaced: 24 bits of the fingerprint, and 8 that tell about when it was dropped.
 *
 * There is room for as many ghosts as the index has for units. A ghost counts only while no more units were dropped since than the
 * cache holds: with fewer and larger units than it was made for, it would otherwise remember what no cache of its size can use.
 */
import type { Fingerprint } from './index-table.ts';

const SET_ENTRIES = 32;
/** Times are 1 to 255; 0 is an entry that holds nothing. */
const TIMES = 255;
/** A set is full of younger ones long before a time comes round again. */
const TIMES_OF_ALL = 100;
const MARK_MASK = 0xffff_ff00;

export class Ghosts {
  readonly #marks: Uint32Array;
  readonly #setCount: number;
  /** Which entry of each set is replaced next. */
  readonly #next: Uint8Array;
  /** Ghosts that share a time. */
  readonly #perTime: number;
  #addedCount = 0;

  /** @param count how many are remembered. */
  constructor(count: number) {
    this.#setCount = Math.max(1, Math.ceil(count / SET_ENTRIES));
    this.#marks = new Uint32Array(this.#setCount * SET_ENTRIES);
    this.#next = new Uint8Array(this.#setCount);
    this.#perTime = Math.max(1, Math.ceil(this.#marks.length / TIMES_OF_ALL));
  }

  add({ second, third }: Fingerprint): void {
    const set = this.#set(second);
    const next = this.#next[set] ?? 0;
    this.#marks[set * SET_ENTRIES + next] = ((third & MARK_MASK) | (this.#now() + 1)) >>> 0;
    this.#next[set] = (next + 1) % SET_ENTRIES;
    this.#addedCount += 1;
  }

  /** True when it is a ghost, of the last `unitCount` or so; in any case it is one no longer. */
  take({ second, third }: Fingerprint, unitCount: number): boolean {
    const from = this.#set(second) * SET_ENTRIES;
    for (let at = from; at < from + SET_ENTRIES; at += 1) {
      const mark = this.#marks[at] ?? 0;
      if (mark === 0 || ((mark ^ third) & MARK_MASK) !== 0) continue;
      this.#marks[at] = 0;
      const age = (this.#now() + 1 - (mark & 0xff) + TIMES) % TIMES;
      return age * this.#perTime <= unitCount;
    }
    return false;
  }

  clear(): void {
    this.#marks.fill(0);
  }

  #now(): number {
    return Math.floor(this.#addedCount / this.#perTime) % TIMES;
  }

  #set(hash: number): number {
    return Math.floor((hash * this.#setCount) / 0x1_0000_0000);
  }
}
