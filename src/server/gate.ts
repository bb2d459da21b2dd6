/**
 * Lets a bounded number through at once; a bounded number waits, in order. Whoever is let through must leave.
 */
import { NetsealError, requireArgument } from '../base/errors.ts';

interface Waiter {
  readonly enter: () => void;
  readonly fail: (error: unknown) => void;
}

export class Gate {
  readonly #name: string;
  readonly #capacity: number;
  readonly #queueMax: number;
  /** In order of arrival: a Set keeps it, and lets one leave from the middle. */
  readonly #waiters = new Set<Waiter>();
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
    return this.#waiters.size;
  }

  /**
   * Runs `action` once there is room. EUNAVAILABLE at once when the queue is full, ECLOSED when the gate is or gets
   * closed before it starts, the signal's reason when aborted while waiting.
   */
  async run<Result>(action: () => Promise<Result>, signal?: AbortSignal): Promise<Result> {
    signal?.throwIfAborted();
    if (this.#closed) throw this.#closedError();
    if (this.#inside < this.#capacity) this.#inside += 1;
    else await this.#wait(signal);
    try {
      return await action();
    } finally {
      this.#leave();
    }
  }

  /** Fails who waits and who comes with ECLOSED; resolves when nobody is inside. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiter of this.#waiters) waiter.fail(this.#closedError());
    this.#waiters.clear();
    if (this.#inside > 0) await new Promise<void>(resolve => this.#idleWaiters.push(resolve));
  }

  /** Whoever leaves hands its place to the next: nobody overtakes. */
  #leave(): void {
    const [next] = this.#waiters;
    if (next !== undefined) {
      this.#waiters.delete(next);
      next.enter();
      return;
    }
    this.#inside -= 1;
    if (this.#inside === 0) for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiters.size >= this.#queueMax) {
      throw new NetsealError('EUNAVAILABLE', `${this.#name}: ${this.#waiters.size} requests wait already`);
    }
    return new Promise((resolve, reject) => {
      const settle = (): void => signal?.removeEventListener('abort', onAbort);
      const onAbort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        enter: () => {
          settle();
          resolve();
        },
        fail: error => {
          settle();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  #closedError(): NetsealError {
    return new NetsealError('ECLOSED', `${this.#name} is closed`);
  }
}
