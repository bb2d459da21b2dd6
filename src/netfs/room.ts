/**
 * Memory for pages, shared by all files: who must flush when it runs short, and who waits.
 *
 *   less than half is held       nothing happens
 *   half and more                files are flushed in the background, the one with the most dirty bytes first
 *   three quarters and more      writers wait
 *
 * Invariants
 *   1. While somebody waits, or half is held, dirty bytes are flushed.
 *   2. While somebody waits, or three quarters are held, servers start what they hold back: as soon as that keeps
 *      a quarter of the memory, or nothing is left to flush. Not earlier: what they send is the larger for it.
 *   3. A writer whose own file cannot be flushed does not wait for ever: it fails with the file's error.
 */
import { OVER } from '../base/abortable.ts';
import type { Scheduler } from '../base/scheduler.ts';
import type { PageCache } from './pages/pages.ts';

/** A file that can be flushed. */
export interface Flushable {
  /** Bytes that no flush has copied. */
  readonly dirtyBytes: number;
  /** Why the last flush failed, while nothing has succeeded since. */
  readonly flushError: unknown;
  /** The same, unless it says that the server could not be asked: that passes. */
  readonly standingError: unknown;
  /** Flushes some units and resolves when they are on their way; false when there was nothing to take. */
  flushSome(): Promise<boolean>;
  /** Starts what the server holds back. */
  push(): void;
}

/** The share of the memory that servers may hold back while somebody waits. */
const HELD_BACK_SHARE = 4;
/** Batches that are prepared at once. */
const LANES = 4;
/** How long after a failed flush the next one is tried. */
const RETRY_MS = 1000;
/** How long a writer waits for a server that cannot be asked. */
const WAIT_MS = 60_000;

export class Room {
  readonly #pages: PageCache;
  readonly #scheduler: Scheduler;
  readonly #files = new Set<Flushable>();
  readonly #lanes = new Set<Promise<void>>();
  readonly #ended = new AbortController();
  /** Ends the pauses after failures. */
  #recovered = new AbortController();
  #waiterCount = 0;
  /** Dirty bytes whose records were placed, and may be held back. */
  #heldBackBytes = 0;
  /** True while a lane waits before it flushes a file that has failed. */
  #isRetrying = false;

  constructor(pages: PageCache, scheduler: Scheduler) {
    this.#pages = pages;
    this.#scheduler = scheduler;
  }

  add(file: Flushable): void {
    this.#files.add(file);
  }

  remove(file: Flushable): void {
    this.#files.delete(file);
  }

  /** True when writers must wait. */
  get isShort(): boolean {
    const { heldBytes, budgetBytes } = this.#pages.use;
    return 4 * heldBytes >= 3 * budgetBytes;
  }

  /** Begins to flush in the background if there is reason to. Call it after every write. */
  check(): void {
    if (!this.#isNeeded || this.#ended.signal.aborted) return;
    while (this.#lanes.size < LANES) {
      const lane = this.#flush().finally(() => {
        this.#lanes.delete(lane);
      });
      this.#lanes.add(lane);
    }
  }

  /**
   * Waits until memory may have become free. Call it in the turn in which there was none.
   *
   * Rejects with the file's error when it cannot be flushed, with the signal's reason, or with ECLOSED.
   */
  async wait(file: Flushable, signal?: AbortSignal): Promise<void> {
    if (file.standingError !== undefined) throw file.standingError;
    this.#waiterCount += 1;
    const left = new AbortController();
    const signals = signal === undefined ? [left.signal] : [left.signal, signal];
    const freed = this.#pages.waitForRoom({ signal: AbortSignal.any(signals) });
    const failed = this.#whenFailed(file, left.signal);
    const timedOut = this.#scheduler.sleep(WAIT_MS, left.signal).then(() => {
      if (file.flushError !== undefined) throw file.flushError;
    });
    try {
      this.check();
      this.pushIfAwaited();
      await Promise.race([freed, failed, timedOut]);
    } finally {
      this.#waiterCount -= 1;
      left.abort(OVER);
      await Promise.allSettled([freed, failed, timedOut]);
    }
  }

  /** Notes that records of so many dirty bytes were placed. */
  placed(dirtyBytes: number): void {
    this.#heldBackBytes += dirtyBytes;
  }

  /**
   * Starts what servers hold back, if somebody waits for memory and that keeps much of it. Call it whenever they
   * were given more.
   */
  pushIfAwaited(): void {
    const isMuch = HELD_BACK_SHARE * this.#heldBackBytes >= this.#pages.use.budgetBytes;
    if (isMuch && (this.#waiterCount > 0 || this.isShort)) this.pushAll();
  }

  pushAll(): void {
    this.#heldBackBytes = 0;
    for (const file of this.#files) file.push();
  }

  /** Wakes writers of a file whose flush has failed. */
  failed(file: Flushable): void {
    for (const wake of [...(this.#failWaiters.get(file) ?? [])]) wake();
  }

  /** A file that could not be flushed can be again. */
  recovered(): void {
    this.#recovered.abort();
    this.#recovered = new AbortController();
  }

  /** Ends the flushing in the background, and waits for it. */
  async close(): Promise<void> {
    this.#ended.abort();
    while (this.#lanes.size > 0) await Promise.all(this.#lanes);
  }

  readonly #failWaiters = new Map<Flushable, Set<() => void>>();

  /** Rejects when the file's flush fails; resolves when the signal aborts. */
  async #whenFailed(file: Flushable, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiters = this.#failWaiters.get(file) ?? new Set();
    this.#failWaiters.set(file, waiters);
    waiters.add(resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    waiters.delete(resolve);
    if (waiters.size === 0) this.#failWaiters.delete(file);
    if (!signal.aborted && file.standingError !== undefined) throw file.standingError;
  }

  get #isNeeded(): boolean {
    const { heldBytes, budgetBytes } = this.#pages.use;
    return this.#waiterCount > 0 || 2 * heldBytes >= budgetBytes;
  }

  /** Flushes as long as there is need, and something to flush. Never rejects. */
  async #flush(): Promise<void> {
    const { signal } = this.#ended;
    /** Files of which all that is dirty waits for records to be placed. They say so when these are. */
    const waiting = new Set<Flushable>();
    while (this.#isNeeded && !signal.aborted) {
      const file = this.#next(waiting);
      if (file === undefined) {
        // All is on its way already.
        this.pushAll();
        return;
      }
      if (file.flushError !== undefined) {
        // Only files that have failed are left, so what servers hold back is all that can free memory.
        this.pushAll();
        // One lane tries again, so that the others are there for files that are written meanwhile.
        if (this.#isRetrying) return;
        this.#isRetrying = true;
        const resumed = AbortSignal.any([signal, this.#recovered.signal]);
        await this.#scheduler.sleep(RETRY_MS, resumed).catch(() => undefined);
        this.#isRetrying = false;
        if (signal.aborted) return;
      }
      // Its error is the file's, which tells it.
      const hasFlushed = await file.flushSome().catch(() => undefined);
      if (hasFlushed === false) waiting.add(file);
    }
  }

  /** Returns the file with the most dirty bytes, one that did not fail first. */
  #next(waiting: ReadonlySet<Flushable>): Flushable | undefined {
    let found: Flushable | undefined;
    for (const file of this.#files) {
      if (file.dirtyBytes === 0 || waiting.has(file)) continue;
      const isBetter =
        found === undefined ||
        (found.flushError !== undefined && file.flushError === undefined) ||
        ((found.flushError === undefined) === (file.flushError === undefined) &&
          file.dirtyBytes > found.dirtyBytes);
      if (isBetter) found = file;
    }
    return found;
  }
}
