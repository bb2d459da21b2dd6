/** Repeatable disorder, for data and for the order of measurements. */

/** A few bytes of state, good enough for shuffling words (xorshift32). Never for keys. */
export class Shuffler {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** An integer from 0, below `limit`. */
  below(limit: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return this.#state % limit;
  }

  /** Low numbers far more often than high ones, as words are used. */
  skewedBelow(limit: number): number {
    const fraction = this.below(1 << 24) / (1 << 24);
    return Math.floor(limit * fraction ** 3);
  }

  pick<Item>(items: readonly [Item, ...Item[]]): Item {
    return items[this.below(items.length)] ?? items[0];
  }

  /** The items in another order; the argument is not changed. */
  shuffle<Item>(items: readonly Item[]): Item[] {
    return items
      .map(item => ({ item, key: this.below(1 << 30) }))
      .sort((left, right) => left.key - right.key)
      .map(({ item }) => item);
  }
}
