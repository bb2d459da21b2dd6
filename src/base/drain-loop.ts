/**
 * Empties a queue in the background, by one loop at a time.
 *
 *   idle ──start()──▶ draining ──nothing is left──▶ idle
 *
 * The queue belongs to the owner of the loop. The loop knows only whether something is in it, and how to work
 * it off.
 */
export class DrainLoop {
  readonly #hasWork: () => boolean;
  readonly #drain: () => Promise<void>;
  #draining: Promise<void> | undefined;

  /**
   * @param hasWork tells whether the queue holds anything.
   * @param drain works until the queue is empty. It should not reject: only {@link idle} would pass that on.
   */
  constructor(hasWork: () => boolean, drain: () => Promise<void>) {
    this.#hasWork = hasWork;
    this.#drain = drain;
  }

  /** Begins to drain, unless it is draining already. Call it after every addition to the queue. */
  start(): void {
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
      // Entries that were added after the loop's last look at the queue.
      if (this.#hasWork()) this.start();
    });
  }

  /** Resolves when the queue is empty and nothing of it is being worked on. */
  async idle(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
  }
}
