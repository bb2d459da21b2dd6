/**
 * The floor: the time that two bare threads need for the unavoidable work. Each compresses (native zstd,
 * level 1) and encrypts (AES-256-GCM) one unit after the other. There is no framework, no format, no padding
 * and no key table.
 */
import { Worker } from 'node:worker_threads';

export type BareTask = 'seal' | 'open';

/** The start data of a bare thread: all data, and its own part of it. */
export interface BareStart {
  readonly data: SharedArrayBuffer;
  readonly unitBytes: number;
  readonly fromUnit: number;
  readonly toUnit: number;
}

/** Two threads. Each works on its half of the data when asked to. */
export class BareThreads {
  readonly #threads: readonly Worker[];

  private constructor(threads: readonly Worker[]) {
    this.#threads = threads;
  }

  /** Starts the threads. Each seals its part once and checks that it opens to the same bytes. */
  static async start(data: Uint8Array<SharedArrayBuffer>, unitBytes: number): Promise<BareThreads> {
    const units = data.byteLength / unitBytes;
    const middle = Math.floor(units / 2);
    const threads = [
      [0, middle],
      [middle, units],
    ].map(([fromUnit, toUnit]) => {
      const workerData: BareStart = { data: data.buffer, unitBytes, fromUnit: fromUnit!, toUnit: toUnit! };
      return new Worker(new URL('bare-thread.ts', import.meta.url), { workerData });
    });
    await Promise.all(threads.map(answerOf));
    return new BareThreads(threads);
  }

  /** Resolves when both threads are done. */
  async run(work: BareTask): Promise<void> {
    const answers = this.#threads.map(answerOf);
    for (const thread of this.#threads) thread.postMessage(work);
    await Promise.all(answers);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.terminate()));
  }
}

/** Resolves at the next message of a thread. */
export function answerOf(thread: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('message', () => {
      thread.off('error', reject);
      resolve();
    });
  });
}
