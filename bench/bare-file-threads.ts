/**
 * The floor of `put` and `get`: two bare threads that also read the file and write the sealed bytes, or read
 * the sealed bytes and write the file. Each works on one half of the file, one unit after the other. They sync
 * nothing, and no file gets its name when it is whole.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { answerOf } from './bare-threads.ts';

export type BareFileTask = 'put' | 'get';

/** The paths that the threads work with, and the length of their units. */
export interface BareFiles {
  readonly source: string;
  /** The beginning of the paths of the sealed files, one a thread. */
  readonly sealed: string;
  readonly target: string;
  readonly unitBytes: number;
  /** A whole number of units. */
  readonly fileBytes: number;
}

/** The start data of a thread: its own sealed file, and its part of the units. */
export interface BareFileStart extends Omit<BareFiles, 'fileBytes'> {
  readonly fromUnit: number;
  readonly toUnit: number;
}

export class BareFileThreads {
  readonly #files: BareFiles;
  readonly #threads: readonly Worker[];

  private constructor(files: BareFiles, threads: readonly Worker[]) {
    this.#files = files;
    this.#threads = threads;
  }

  static async start({ fileBytes, ...files }: BareFiles): Promise<BareFileThreads> {
    const units = fileBytes / files.unitBytes;
    const middle = Math.floor(units / 2);
    const threads = [
      { fromUnit: 0, toUnit: middle },
      { fromUnit: middle, toUnit: units },
    ].map(part => {
      const workerData: BareFileStart = { ...files, ...part, sealed: `${files.sealed}-${part.fromUnit}` };
      return new Worker(new URL('bare-file-thread.ts', import.meta.url), { workerData });
    });
    await Promise.all(threads.map(answerOf));
    return new BareFileThreads({ ...files, fileBytes }, threads);
  }

  /** Resolves when both threads are done. `get` opens what the last `put` has sealed. */
  async run(task: BareFileTask): Promise<void> {
    if (task === 'get') writeFileSync(this.#files.target, '');
    const answers = this.#threads.map(answerOf);
    for (const thread of this.#threads) thread.postMessage(task);
    await Promise.all(answers);
  }

  /** Removes what the threads have written, so that they write new files. */
  removeFiles(task: BareFileTask): void {
    const { target, sealed, fileBytes, unitBytes } = this.#files;
    const middle = Math.floor(fileBytes / unitBytes / 2);
    const paths = task === 'get' ? [target] : [`${sealed}-0`, `${sealed}-${middle}`];
    for (const path of paths) rmSync(path, { force: true });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.terminate()));
  }
}
