/** Background work that nothing awaits until its owner is closed. */
export class PendingWork {
  readonly #promises = new Set<Promise<unknown>>();

  /** Adds work, and returns it. */
  add<Result>(promise: Promise<Result>): Promise<Result> {
    const settled: Promise<void> = promise.then(
      () => void this.#promises.delete(settled),
      () => void this.#promises.delete(settled),
    );
    this.#promises.add(settled);
    return promise;
  }

  /** Waits until no work is under way. Never rejects. */
  async idle(): Promise<void> {
    while (this.#promises.size > 0) await Promise.all(this.#promises);
  }
}
