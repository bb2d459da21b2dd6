/** Repeatable random numbers, for generated data and for the order of measurements. */

/** A small generator (xorshift32): good enough to shuffle words, and never for keys. */
export class Shuffler {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** Returns an integer from 0 to `limit` - 1. */
  below(limit: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % limit;
  }

  /**
   * Returns an integer from 0 to `limit` - 1. Low numbers are far more frequent, like common words in a text.
   */
  skewedBelow(limit: number): number {
    const fraction = this.below(1 << 24) / (1 << 24);
    return Math.floor(limit * fraction ** 3);
  }

  pick<Item>(items: readonly [Item, ...Item[]]): Item {
    return items[this.below(items.length)] ?? items[0];
  }

  /** Returns the items in another order. The argument is not changed. */
  shuffle<Item>(items: readonly Item[]): Item[] {
    return items
      .map(item => ({ item, key: this.below(1 << 30) }))
      .sort((left, right) => left.key - right.key)
      .map(({ item }) => item);
  }
}
