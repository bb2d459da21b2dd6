/** Time that passes only when everything waits for it. */
import type { Scheduler } from '../../src/base/scheduler.ts';

export class VirtualTime implements Scheduler {
  #nowMs = 1_000_000;
  /** How long each sleep was, in order. */
  readonly sleptMs: number[] = [];
  readonly #sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    this.sleptMs.push(delayMs);
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const sleeper = { atMs: this.#nowMs + delayMs, wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', () => {
        if (this.#sleepers.delete(sleeper)) reject(signal.reason);
      });
    });
  }

  /** Lets time pass until `work` has settled and nobody sleeps. */
  async run<Result>(work: Promise<Result>): Promise<Result> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    work.then(done, done);
    for (;;) {
      await new Promise(setImmediate);
      const next = [...this.#sleepers].sort((left, right) => left.atMs - right.atMs)[0];
      if (next === undefined) {
        if (settled) return work;
        continue;
      }
      this.#sleepers.delete(next);
      this.#nowMs = next.atMs;
      next.wake();
    }
  }
}
