/**
 * How much opened data readers may hold at once. Opened units lie in the pipeline's memory until their reader is done with
 * them; if readers could fill it with what they have read ahead, the unit that one of them waits for would find no room.
 *
 * Invariant: what is granted fits into the memory. What a reader needs next is granted in order of asking; what it reads
 * ahead only while a quarter of the budget stays free.
 */
import { Waiters } from '../../base/waiters.ts';

export class ReadBudget {
  readonly #totalBytes: number;
  #usedBytes = 0;
  readonly #waiters = new Waiters((bytes: number) => this.#tryTake(bytes));

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  /** Waits for room. A request for more than there is waits until it is alone. */
  async acquire(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#waiters.tryNow(bytes) === undefined) await this.#waiters.wait(bytes, signal);
  }

  /** For reading ahead: true if there is plenty of room now. */
  tryAcquire(bytes: number): boolean {
    if (this.#waiters.count > 0 || this.#usedBytes + bytes > 0.75 * this.#totalBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes;
    this.#waiters.serve();
  }

  #tryTake(bytes: number): true | undefined {
    if (this.#usedBytes > 0 && this.#usedBytes + bytes > this.#totalBytes) return undefined;
    this.#usedBytes += bytes;
    return true;
  }
}
