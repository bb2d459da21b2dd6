/** How a walk works on several branches of a tree at once without holding more of it than a few. */

/** Branches beside the one that is always walked. */
const SPARE_BRANCHES = 3;

/**
 * Runs what is below a place: beside one another while there are branches to spare, else one after another. Branches may
 * run branches of their own.
 */
export class WalkBranches {
  #spare: number;

  constructor(spare: number = SPARE_BRANCHES) {
    this.#spare = spare;
  }

  /** Resolves when all have ended; rejects with the first failure, and starts none after it. */
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
      const run = branch()
        .catch(error => {
          failures.push(error);
        })
        .finally(() => {
          this.#spare += 1;
          running.delete(run);
        });
      running.add(run);
    }
    await Promise.all(running);
    if (failures.length > 0) throw failures[0];
  }
}
