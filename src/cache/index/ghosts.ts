/**
 * Ghosts: the memory of units that were dropped without having been asked for again. A unit that comes back
 * while its ghost is there is worth keeping.
 *
 * A ghost takes four bytes: 24 bits of the unit's fingerprint, and 8 for the time when it was dropped. Ghosts
 * lie in sets of 32, where a new one replaces the oldest. There are as many ghosts as the index has room for
 * units.
 *
 * A ghost counts only while no more units were dropped after it than the cache holds. Otherwise a cache of
 * few large units would remember units that a cache of its size could not have kept.
 */
import type { Fingerprint } from './index-table.ts';

const SET_ENTRIES = 32;
/** Times are 1 to 255 and begin again at 1. An entry of 0 holds nothing. */
const TIMES = 255;
/** All ghosts together span so many times. So an old ghost is replaced long before its time begins again. */
const TIMES_OF_ALL = 100;
const HASH_MASK = 0xffff_ff00;

export class Ghosts {
  readonly #entries: Uint32Array;
  readonly #setCount: number;
  /** Which entry of each set is replaced next. */
  readonly #next: Uint8Array;
  /** How many ghosts in a row have the same time. */
  readonly #perTime: number;
  #addedCount = 0;

  /** @param count how many ghosts there is room for. */
  constructor(count: number) {
    this.#setCount = Math.max(1, Math.ceil(count / SET_ENTRIES));
    this.#entries = new Uint32Array(this.#setCount * SET_ENTRIES);
    this.#next = new Uint8Array(this.#setCount);
    this.#perTime = Math.max(1, Math.ceil(this.#entries.length / TIMES_OF_ALL));
  }

  add({ second, third }: Fingerprint): void {
    const set = this.#set(second);
    const next = this.#next[set] ?? 0;
    this.#entries[set * SET_ENTRIES + next] = ((third & HASH_MASK) | (this.#now() + 1)) >>> 0;
    this.#next[set] = (next + 1) % SET_ENTRIES;
    this.#addedCount += 1;
  }

  /** Removes the unit's ghost. True when there was one, among the last `unitCount` or so. */
  take({ second, third }: Fingerprint, unitCount: number): boolean {
    const from = this.#set(second) * SET_ENTRIES;
    for (let at = from; at < from + SET_ENTRIES; at += 1) {
      const entry = this.#entries[at] ?? 0;
      if (entry === 0 || ((entry ^ third) & HASH_MASK) !== 0) continue;
      this.#entries[at] = 0;
      const age = (this.#now() + 1 - (entry & 0xff) + TIMES) % TIMES;
      return age * this.#perTime <= unitCount;
    }
    return false;
  }

  clear(): void {
    this.#entries.fill(0);
  }

  #now(): number {
    return Math.floor(this.#addedCount / this.#perTime) % TIMES;
  }

  #set(hash: number): number {
    return Math.floor((hash * this.#setCount) / 0x1_0000_0000);
  }
}
