/**
 * The floor: what two bare threads need for the unavoidable work, native zstd level 1 and AES-256-GCM, one unit after
 * the other, with no framework, no format, no padding, no keys to look up and nobody to report to.
 */
import { Worker } from 'node:worker_threads';

export type BareWork = 'seal' | 'open';

/** What a bare thread is given: all data, and which part of it is its own. */
export interface BareStart {
  readonly data: SharedArrayBuffer;
  readonly unitBytes: number;
  readonly fromUnit: number;
  readonly toUnit: number;
}

/** Two threads that do their halves of the data when told. */
export class BareThreads {
  readonly #threads: readonly Worker[];

  private constructor(threads: readonly Worker[]) {
    this.#threads = threads;
  }

  /** Starts the threads; each seals its part once, and checks that it opens to the same bytes. */
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

  /** Resolves when both have done their part. */
  async run(work: BareWork): Promise<void> {
    const answers = this.#threads.map(answerOf);
    for (const thread of this.#threads) thread.postMessage(work);
    await Promise.all(answers);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.terminate()));
  }
}

function answerOf(thread: Worker): Promise<void> {
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('message', () => {
      thread.off('error', reject);
      resolve();
    });
  });
}
