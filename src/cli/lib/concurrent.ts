/** Work on many items at the same time, within a limit. */

/**
 * Returns the results of `work` for each item, in the items' order. At most `limit` run at a time. After a
 * failure no further item is begun; the call rejects once those under way have ended.
 */
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
 * The limit for work on the branches of a tree, where each branch starts work on its own branches. A branch
 * runs beside the others while the limit allows it. Otherwise its parent waits for it before it starts the
 * next.
 *
 * - At most `limit + 1` branches run at a time, however wide and deep the tree is.
 * - There is no deadlock: a branch that cannot run beside the others runs at once, in its parent's turn.
 */
export class Branches {
  #free: number;

  constructor(limit: number) {
    this.#free = limit;
  }

  /**
   * Does `work` for each item, and waits for all. After a failure begins no more, and rejects with the first
   * failure.
   */
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
