/**
 * Reads pages on another thread, without the thread that owns the page cache. It needs only the shared
 * memory.
 *
 * What it cannot read is a miss, and the caller can ask the owner. A miss means that bytes are not cached or
 * were changed again and again, or that the server must be asked about the file again.
 *
 * What a read returns was the file's content at some moment during the call, for each block of 64 KiB by
 * itself. Writes of this session may be in one block and not in another. Versions of other clients, and
 * truncations, are in all or in none.
 */
import { requireBytes, requireInteger, requireObject } from '../../base/arguments.ts';
import { areCurrent, FOREVER_MS, findFile, loadFacts, noFacts, type PageFileRef } from './file-slots.ts';
import { PageCopier } from './page-copier.ts';
import type { PageMemory } from './page-memory.ts';

const RETRIES_MAX = 2;

/** Returns milliseconds on the clock of `process.hrtime`, which all threads share. */
export type ThreadClock = () => number;

/**
 * Makes a clock that takes less time than `process.hrtime` and makes no garbage. `performance.now` runs
 * alike, from another zero in each thread. The clock is never behind: what it says is fresh is fresh.
 */
export function threadClock(): ThreadClock {
  const beforeMs = performance.now();
  const zeroMs = Number(process.hrtime.bigint()) / 1e6 - beforeMs;
  return () => zeroMs + performance.now();
}

export class PageReader {
  readonly #memory: PageMemory;
  readonly #copier: PageCopier;
  readonly #nowMs: ThreadClock;
  /**
   * The facts of the file that was read last. They need not be loaded again while the file's slot is
   * unchanged.
   */
  readonly #before = noFacts();
  readonly #after = noFacts();

  /**
   * @param memory what `SharedPages.memory` is.
   * @param copier for tests.
   */
  constructor(
    memory: PageMemory,
    nowMs: ThreadClock = threadClock(),
    copier: PageCopier = new PageCopier(memory),
  ) {
    requireObject('memory', memory);
    this.#memory = memory;
    this.#nowMs = nowMs;
    this.#copier = copier;
  }

  /** Looks a file up by its key. Undefined: the owner has not opened it, or has too many files open. */
  find(key: Uint8Array): PageFileRef | undefined {
    requireBytes('key', key);
    return findFile(this.#memory, key);
  }

  /**
   * Reads bytes of a file from `offsetBytes` on. Returns how many: as many as `into` holds, or up to the end
   * of the file. Undefined is a miss; then `into` may hold anything.
   */
  read(ref: PageFileRef, offsetBytes: number, into: Uint8Array): number | undefined {
    requireInteger('offsetBytes', offsetBytes);
    requireBytes('into', into);
    const memory = this.#memory;
    const before = this.#before;
    for (let tries = 0; tries <= RETRIES_MAX; tries += 1) {
      if (!areCurrent(memory, ref, before) && !loadFacts(memory, ref, before)) return undefined;
      if (before.freshUntilMs !== FOREVER_MS && this.#nowMs() >= before.freshUntilMs) return undefined;
      const wanted = Math.min(into.byteLength, before.sizeBytes - offsetBytes);
      if (wanted <= 0) return 0;
      const copied = this.#copier.read(ref.number, offsetBytes, into, wanted);
      if (this.#isSame(ref)) return copied === wanted ? wanted : undefined;
    }
    return undefined;
  }

  /** True when the file is still the one that was read, and nothing was cut meanwhile. */
  #isSame(ref: PageFileRef): boolean {
    if (areCurrent(this.#memory, ref, this.#before)) return true;
    return loadFacts(this.#memory, ref, this.#after) && this.#after.cuts === this.#before.cuts;
  }
}
