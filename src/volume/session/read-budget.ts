/**
 * How much opened data readers may hold at once. Opened units lie in the pipeline's memory until their reader is done with
 * them; if readers could fill it with what they have read ahead, the unit that one of them waits for would find no room.
 *
 * Invariant: what is granted fits into the memory. What a reader needs next is granted in order of asking; what it reads
 * ahead only while a quarter of the budget stays free.
 */
export class ReadBudget {
  readonly #totalBytes: number;
  #usedBytes = 0;
  readonly #waiters: { readonly bytes: number; readonly grant: () => void }[] = [];

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  /** Waits for room. A request for more than there is waits until it is alone. */
  async acquire(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#waiters.length === 0 && this.#fits(bytes)) {
      this.#usedBytes += bytes;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { bytes, grant: resolve };
    const onAbort = (): void => {
      const at = this.#waiters.indexOf(waiter);
      // Granted already: then whoever asked gives it back.
      if (at === -1) return;
      this.#waiters.splice(at, 1);
      reject(signal?.reason);
      this.#serve();
    };
    this.#waiters.push(waiter);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** For reading ahead: true if there is plenty of room now. */
  tryAcquire(bytes: number): boolean {
    if (this.#waiters.length > 0 || this.#usedBytes + bytes > 0.75 * this.#totalBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes;
    this.#serve();
  }

  #fits(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.#totalBytes;
  }

  #serve(): void {
    for (
      let first = this.#waiters[0];
      first !== undefined && this.#fits(first.bytes);
      first = this.#waiters[0]
    ) {
      this.#waiters.shift();
      this.#usedBytes += first.bytes;
      first.grant();
    }
  }
}
