/** The smallest of any number of keys with what belongs to them, in bounded memory: a sorted list of what does not fit, part by part. */
export class Smallest<Key extends string | number, Value> {
  readonly #limit: number;
  readonly #after: Key | undefined;
  /** Smaller than all keys that were left out. */
  #bound: Key | undefined;
  #values = new Map<Key, Value>();

  /** @param limit how many are kept. @param after only keys behind this one count. */
  constructor(limit: number, after: Key | undefined) {
    this.#limit = limit;
    this.#after = after;
  }

  /** Whether there is no need to count what has this key. */
  isOutside(key: Key): boolean {
    return (
      (this.#after !== undefined && key <= this.#after) || (this.#bound !== undefined && key > this.#bound)
    );
  }

  /** What belongs to a key that is not outside; made when it is seen for the first time. */
  value(key: Key, make: () => Value): Value {
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    const value = make();
    this.#values.set(key, value);
    // Twice as many for a while, so that it is not sorted for each.
    if (this.#values.size >= 2 * this.#limit) this.#cut();
    return value;
  }

  /** Sorted by key, at most as many as the limit. `isLast` when nothing was left out. */
  take(): { readonly entries: readonly (readonly [Key, Value])[]; readonly isLast: boolean } {
    if (this.#values.size > this.#limit) this.#cut();
    return { entries: this.#sorted(), isLast: this.#bound === undefined };
  }

  #cut(): void {
    const kept = this.#sorted().slice(0, this.#limit);
    this.#bound = kept.at(-1)?.[0];
    this.#values = new Map(kept);
  }

  #sorted(): [Key, Value][] {
    return [...this.#values].sort(([left], [right]) => (left < right ? -1 : left > right ? 1 : 0));
  }
}
