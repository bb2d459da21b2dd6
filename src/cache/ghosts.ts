/**
 * Ghosts: what was dropped a while ago without having been asked for again. Who comes back is worth keeping. Four bytes each:
 * a part of the fingerprint, in sets of 32 of which the oldest is replaced.
 */
import type { Fingerprint } from './index-table.ts';

const SET_ENTRIES = 32;

export class Ghosts {
  readonly #marks: Uint32Array;
  readonly #setCount: number;
  /** Which entry of each set is replaced next. */
  readonly #next: Uint8Array;

  /** @param count how many are remembered. */
  constructor(count: number) {
    this.#setCount = Math.max(1, Math.ceil(count / SET_ENTRIES));
    this.#marks = new Uint32Array(this.#setCount * SET_ENTRIES);
    this.#next = new Uint8Array(this.#setCount);
  }

  add({ second, third }: Fingerprint): void {
    const set = this.#set(second);
    const next = this.#next[set] ?? 0;
    this.#marks[set * SET_ENTRIES + next] = third;
    this.#next[set] = (next + 1) % SET_ENTRIES;
  }

  /** True when it is a ghost; then it is one no longer. */
  take({ second, third }: Fingerprint): boolean {
    const from = this.#set(second) * SET_ENTRIES;
    const at = this.#marks.subarray(from, from + SET_ENTRIES).indexOf(third);
    if (at < 0 || third === 0) return false;
    this.#marks[from + at] = 0;
    return true;
  }

  clear(): void {
    this.#marks.fill(0);
  }

  #set(hash: number): number {
    return Math.floor((hash * this.#setCount) / 0x1_0000_0000);
  }
}
