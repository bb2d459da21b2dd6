/**
 * The floor of open files: two bare threads that compress and encrypt units of memory into two files, or read
 * sealed units of a file, decrypt and decompress them. Each copies every plain unit once. They sync nothing.
 */
import { Worker } from 'node:worker_threads';
import { answerOf } from './bare-threads.ts';

/** `write`: into store and cache. `read`: from the store. `fill`: from the store, and as it is into the cache. */
export type BareStreamTask = 'write' | 'read' | 'fill';

export interface BareStreamsSettings {
  /** What is written, `repeats` times; a whole number of units. */
  readonly data: Uint8Array<SharedArrayBuffer>;
  readonly repeats: number;
  readonly unitBytes: number;
  /** For their files. It is there. */
  readonly folder: string;
}

/** The start data of a thread: its own files, and its part of the units. */
export interface BareStreamStart extends Omit<BareStreamsSettings, 'data' | 'folder'> {
  readonly data: SharedArrayBuffer;
  readonly store: string;
  readonly cache: string;
  readonly fromUnit: number;
  readonly toUnit: number;
}

export class BareStreams {
  readonly #threads: readonly Worker[];

  private constructor(threads: readonly Worker[]) {
    this.#threads = threads;
  }

  /** Starts the threads, which write once: there is something to read from then on. */
  static async start({ data, folder, ...settings }: BareStreamsSettings): Promise<BareStreams> {
    const units = data.byteLength / settings.unitBytes;
    const middle = Math.floor(units / 2);
    const parts = [
      { fromUnit: 0, toUnit: middle },
      { fromUnit: middle, toUnit: units },
    ];
    const threads = parts.map(part => {
      const files = { store: `${folder}/store-${part.fromUnit}`, cache: `${folder}/cache-${part.fromUnit}` };
      const workerData: BareStreamStart = { data: data.buffer, ...settings, ...part, ...files };
      return new Worker(new URL('bare-stream-thread.ts', import.meta.url), { workerData });
    });
    await Promise.all(threads.map(answerOf));
    const streams = new BareStreams(threads);
    await streams.run('write');
    return streams;
  }

  /** Resolves when both threads are done. */
  async run(task: BareStreamTask): Promise<void> {
    const answers = this.#threads.map(answerOf);
    for (const thread of this.#threads) thread.postMessage(task);
    await Promise.all(answers);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.terminate()));
  }
}
