/** Bounded work at the same time. */

/** What `work` makes of each item, in order, at most `limit` under way at once. After a failure no further one is begun. */
export async function mapConcurrent<Item, Result>(
  items: readonly Item[],
  limit: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const rest = items.entries();
  let hasFailed = false;
  const runOne = async (): Promise<void> => {
    for (const [at, item] of rest) {
      try {
        results[at] = await work(item);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
      if (hasFailed) return;
    }
  };
  const runs = Array.from({ length: Math.min(limit, items.length) }, runOne);
  await settleAll(runs);
  return results;
}

/**
 * The branches of a tree: they run at the same time while there is room, else one after the other. However wide and deep
 * the tree, `limit + 1` are under way at most, and none waits for room while it takes some.
 */
export class Branches {
  #free: number;

  constructor(limit: number) {
    this.#free = limit;
  }

  /** Waits for all; rejects with the first failure, and begins no more after it was seen. */
  async each<Item>(items: Iterable<Item>, work: (item: Item) => Promise<void>): Promise<void> {
    const running = new Set<Promise<void>>();
    const failures: unknown[] = [];
    for (const item of items) {
      if (failures.length > 0) break;
      const run = work(item).catch((error: unknown) => {
        failures.push(error);
      });
      if (this.#free > 0) {
        this.#free -= 1;
        const counted = run.finally(() => {
          this.#free += 1;
          running.delete(counted);
        });
        running.add(counted);
      } else {
        await run;
      }
    }
    await Promise.all(running);
    if (failures.length > 0) throw failures[0];
  }
}

async function settleAll(runs: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(runs)) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}
