/**
 * Limits how much opened data readers hold at once. Opened units lie in the pipeline's memory until their
 * reader is done with them. Without a limit, data that was read ahead could fill that memory, and the unit
 * that a reader waits for would find no room.
 *
 * Invariants
 *   1. All grants together fit into the memory.
 *   2. Requests for data that a reader needs next are granted in the order in which they were made.
 *   3. Reading ahead is granted only while a quarter of the budget stays free.
 */
import { Waiters } from '../../base/waiters.ts';

export class ReadBudget {
  readonly #totalBytes: number;
  #usedBytes = 0;
  readonly #waiters = new Waiters((bytes: number) => this.#tryTake(bytes));

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  /** Waits for room. A request that is larger than the budget waits until nothing else is granted. */
  async acquire(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.#waiters.tryNow(bytes) === undefined) await this.#waiters.wait(bytes, signal);
  }

  /** Takes room for reading ahead, if there is plenty. Returns whether it did. */
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
