/**
 * Walks a few branches of a tree at once. The limit holds for the whole tree, which bounds the walk's memory.
 */

/** How many branches are walked beside the one that is always being walked. */
const SPARE_BRANCHES = 3;

/**
 * Runs the branches below a place: concurrently while there are spare ones, else one after another. A branch
 * may run branches of its own.
 */
export class WalkBranches {
  #spare: number;

  constructor(spare: number = SPARE_BRANCHES) {
    this.#spare = spare;
  }

  /**
   * Resolves when all branches have ended. After a failure it starts no more, and rejects with that failure.
   */
  async run(branches: readonly (() => Promise<void>)[]): Promise<void> {
    const running = new Set<Promise<void>>();
    const failures: unknown[] = [];
    for (const branch of branches) {
      if (failures.length > 0) break;
      if (this.#spare === 0) {
        await branch().catch(error => failures.push(error));
        continue;
      }
      this.#spare -= 1;
      const ended = branch()
        .catch(error => {
          failures.push(error);
        })
        .finally(() => {
          this.#spare += 1;
          running.delete(ended);
        });
      running.add(ended);
    }
    await Promise.all(running);
    if (failures.length > 0) throw failures[0];
  }
}
