/**
 * Batches of a stream are worked on side by side and come out in order. Each goes out as soon as it and all before it
 * are done, whether or not more input comes.
 */

export class OrderedOutput {
  /** Batches in flight beyond which the source waits: enough for each worker to have work while one is handed over. */
  readonly #limit: number;
  readonly #onFailure: (error: unknown) => void;
  /** Hand-overs not yet done, oldest first. Each resolves when its batch is out, and rejects when one failed. */
  readonly #handOvers: Promise<void>[] = [];
  #last: Promise<void> = Promise.resolve();

  /** @param onFailure told at once when a batch fails, as the source may not come back for long. */
  constructor(workerCount: number, onFailure: (error: unknown) => void) {
    this.#limit = Math.max(1, workerCount) + 1;
    this.#onFailure = onFailure;
  }

  /** True when nothing is being worked on. */
  get isIdle(): boolean {
    return this.#handOvers.length === 0;
  }

  /**
   * Takes a batch that is being worked on; `deliver` gets its result in its turn. Resolves when there is room for
   * another. Rejects when this or an earlier batch failed; then no later batch is delivered.
   */
  async push<Result>(batch: Promise<Result>, deliver: (result: Result) => void): Promise<void> {
    const previous = this.#last;
    // Both are observed below; neither may count as unhandled before that.
    batch.catch(() => undefined);
    const handOver = (async () => {
      await previous;
      deliver(await batch);
    })();
    handOver.catch(this.#onFailure);
    this.#last = handOver;
    this.#handOvers.push(handOver);
    const leave = (): void => {
      this.#handOvers.splice(0, 1);
    };
    handOver.then(leave, leave);
    if (this.#handOvers.length >= this.#limit) await this.#handOvers[0];
  }

  /** Resolves when everything is out; rejects as {@link push}. */
  async drain(): Promise<void> {
    await this.#last;
  }
}
