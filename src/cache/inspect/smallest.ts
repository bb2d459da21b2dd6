/**
 * Collects the smallest of any number of keys, with a value for each, in bounded memory. So a sorted list
 * that does not fit into memory is made part by part: each part is one look at all keys, and begins after the
 * last key of the part before.
 */
export class Smallest<Key extends string | number, Value> {
  readonly #limit: number;
  readonly #after: Key | undefined;
  /** Keys greater than this are left out. Undefined until there are too many keys. */
  #bound: Key | undefined;
  #values = new Map<Key, Value>();

  /** @param limit how many keys are kept. @param after only greater keys count; undefined for all. */
  constructor(limit: number, after: Key | undefined) {
    this.#limit = limit;
    this.#after = after;
  }

  /** True for keys that are not wanted: those up to `after`, and those too great to be kept. */
  isOutside(key: Key): boolean {
    return (
      (this.#after !== undefined && key <= this.#after) || (this.#bound !== undefined && key > this.#bound)
    );
  }

  /** Returns the value of a key that is not outside. The first call for a key makes it. */
  value(key: Key, make: () => Value): Value {
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    const value = make();
    this.#values.set(key, value);
    // Twice as many are kept for a while, so that they are sorted seldom.
    if (this.#values.size >= 2 * this.#limit) this.#cut();
    return value;
  }

  /** Returns keys and values, sorted, at most `limit`. `isLast` is true when nothing was left out. */
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
