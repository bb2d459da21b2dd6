/** Limits how many actions run at once. A bounded number of further ones wait, in order. */
import { NetsealError, requireArgument } from '../base/errors.ts';
import { Waiters } from '../base/waiters.ts';

export class Gate {
  readonly #name: string;
  readonly #capacity: number;
  readonly #queueMax: number;
  readonly #waiters = new Waiters<void, true>(() => this.#tryEnter());
  readonly #idleWaiters: (() => void)[] = [];
  #inside = 0;
  #closed = false;

  constructor(name: string, capacity: number, queueMax: number = Number.POSITIVE_INFINITY) {
    requireArgument(
      Number.isSafeInteger(capacity) && capacity > 0,
      `${name}: at least 1 request at once, not ${capacity}`,
    );
    requireArgument(queueMax >= 0, `${name}: the queue cannot hold ${queueMax}`);
    this.#name = name;
    this.#capacity = capacity;
    this.#queueMax = queueMax;
  }

  get insideCount(): number {
    return this.#inside;
  }

  get waiterCount(): number {
    return this.#waiters.count;
  }

  /**
   * Runs `action` as soon as there is room. Rejects with EUNAVAILABLE at once when the queue is full, with
   * ECLOSED when the gate closes before the action starts, and with the signal's reason when aborted while it
   * waits.
   */
  async run<Result>(action: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    signal?.throwIfAborted();
    if (this.#closed) throw this.#closedError();
    if (this.#waiters.tryNow() === undefined) await this.#wait(signal);
    try {
      return await action();
    } finally {
      this.#leave();
    }
  }

  /** Fails all that wait, and all later calls, with ECLOSED. Resolves when no action runs. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waiters.failAll(this.#closedError());
    if (this.#inside > 0) await new Promise<void>(resolve => this.#idleWaiters.push(resolve));
  }

  #tryEnter(): true | undefined {
    if (this.#inside >= this.#capacity) return undefined;
    this.#inside += 1;
    return true;
  }

  #leave(): void {
    this.#inside -= 1;
    this.#waiters.serve();
    if (this.#inside === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #wait(signal: AbortSignal | undefined): Promise<true> {
    const { count } = this.#waiters;
    if (count >= this.#queueMax) {
      throw new NetsealError('EUNAVAILABLE', `${this.#name}: ${count} requests wait already`);
    }
    return this.#waiters.wait(undefined, signal);
  }

  #closedError(): NetsealError {
    return new NetsealError('ECLOSED', `${this.#name} is closed`);
  }
}
