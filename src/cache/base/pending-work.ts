/** Work that was begun and that nobody waits for, but for whoever closes the place where it is done. */
export class PendingWork {
  readonly #promises = new Set<Promise<unknown>>();

  /** Resolves and rejects as `promise` does, which it returns. */
  add<Result>(promise: Promise<Result>): Promise<Result> {
    const settled: Promise<void> = promise.then(
      () => void this.#promises.delete(settled),
      () => void this.#promises.delete(settled),
    );
    this.#promises.add(settled);
    return promise;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#promises.size > 0) await Promise.all(this.#promises);
  }
}
