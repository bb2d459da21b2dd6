/**
 * One file that is open, whoever has opened it: its parts, and what keeps it going in the background.
 *
 * Committed ──write, truncate──▶ changed ──5 s, or sync──▶ committing ──▶ committed
 *                                   ▲                          │
 *                                   └── failed; tried again ◀──┘
 */
import { abortable } from '../base/abortable.ts';
import { DrainLoop } from '../base/drain-loop.ts';
import { codeOf, NetsealError } from '../base/errors.ts';
import { Base } from './base.ts';
import { Committer } from './commit.ts';
import { Fetches } from './fetch.ts';
import type { FileStatus } from './file.ts';
import { Flusher } from './flush.ts';
import { Gate } from './gate.ts';
import type { FileParts } from './parts.ts';
import { isUntouched, Reader, splice } from './read.ts';
import { ReadAhead } from './read-ahead.ts';
import { type BoundStash, dropChanges, Rebase } from './rebase.ts';
import { CommitClock } from './regions/commit-clock.ts';
import type { Room } from './room.ts';
import type { CommitSub } from './server.ts';
import { type TruncateParts, truncate } from './truncate.ts';
import { Writer } from './write.ts';

/** How long after a failed commit the next one is tried: at first, and at most. */
const RETRY_MS = 1000;
const RETRY_MS_MAX = 60_000;
/** How long a sync goes on when the server cannot be asked. */
const WAIT_MS = 60_000;

export class OpenFile<Handle> {
  readonly parts: FileParts<Handle>;
  readonly #base: Base<Handle>;
  readonly #fetches: Fetches<Handle>;
  readonly #reader: Reader<Handle>;
  readonly #writer: Writer<Handle>;
  readonly #flusher: Flusher<Handle>;
  readonly #committer: Committer<Handle>;
  readonly #gate = new Gate();
  readonly #room: Room;
  readonly #clock = new CommitClock();
  readonly #ended = new AbortController();
  readonly #ticking = new DrainLoop(
    () => this.#hasWork,
    () => this.#tick(),
  );
  readonly #onCommitted: () => void;
  /** Calls under way that use pages and the server. */
  readonly #calls = new Set<Promise<unknown>>();
  /** When something was done to the file last. */
  #changedAtMs: number | undefined;
  /** How many callers have it open. */
  #openCount = 0;

  /**
   * @param onCommitted called when everything has been committed by a commit in the background.
   * @param isNew true when the file is not there before its first commit.
   */
  constructor(
    parts: FileParts<Handle>,
    room: Room,
    stash: BoundStash | undefined,
    onCommitted: () => void,
    isNew: boolean,
  ) {
    const { netfs, server, handle, form, cache, streams } = parts;
    const { pipeline } = netfs;
    this.parts = parts;
    this.#room = room;
    this.#onCommitted = onCommitted;
    this.#base = new Base(parts);
    this.#fetches = new Fetches({
      pipeline,
      server,
      handle,
      form,
      onOpened: (unit, receipt, plain) => splice(parts, unit, receipt, plain),
      cache,
      isCurrent: (unit, receipt) => isUntouched(parts, unit, receipt),
      keep: (units, lease) => {
        if (cache !== undefined) streams.offer(cache, units, lease, netfs.held.fetched);
      },
      notKept: count => {
        netfs.streamCounters.notOffered += count;
      },
    });
    this.#reader = new Reader(parts, this.#base, this.#fetches);
    this.#flusher = new Flusher(parts, this.#base, this.#fetches, room);
    const rebase = new Rebase(parts, this.#base, this.#flusher, this.#gate, stash);
    this.#committer = new Committer(parts, this.#base, this.#flusher, rebase);
    this.#writer = new Writer(parts, {
      ...this.#phases,
      fetches: this.#fetches,
      room,
      areRecordsFull: () => this.#areRecordsFull,
      makeRecordsFit: signal => this.#makeRecordsFit(signal),
    });
    room.add(this.#flusher);
    if (!isNew) return;
    this.#committer.begunNew();
    this.#changed();
  }

  get sizeBytes(): number {
    return this.parts.regions.sizeBytes;
  }

  get openCount(): number {
    return this.#openCount;
  }

  get isCommitted(): boolean {
    return this.#committer.isCommitted;
  }

  get status(): FileStatus {
    const { regions } = this.parts;
    const error = this.#committer.error ?? this.#flusher.flushError;
    return {
      sizeBytes: regions.sizeBytes,
      dirtyBytes: regions.dirtyBytes,
      uploadedUnits: regions.layers.pendingCount,
      uploadedBytes: regions.layers.pendingBytes,
      changedAtMs: this.isCommitted ? undefined : this.#changedAtMs,
      isCommitted: this.isCommitted,
      failing: this.isCommitted || error === undefined ? undefined : asError(error),
    };
  }

  /** Counts one more caller that has it open. */
  opened(): void {
    this.#openCount += 1;
  }

  /** Counts one caller less. */
  closed(): void {
    this.#openCount -= 1;
  }

  /**
   * Notes that a caller rewrites the whole file; see `isReplacing`.
   *
   * @returns a function to call at the first sync or close. Calling it again does nothing.
   */
  beginReplacing(): () => void {
    return this.#clock.beginReplacing();
  }

  /** Returns the read-ahead of one caller that has the file open. */
  newReadAhead(): ReadAhead<Handle> {
    return new ReadAhead({
      parts: this.parts,
      base: this.#base,
      fetches: this.#fetches,
      ended: this.#ended.signal,
      track: work => void this.#track(work),
    });
  }

  /**
   * Reads. The number comes at once where nothing needs to be waited for.
   *
   * @param ahead reads ahead once the bytes themselves were asked for.
   */
  read(
    offsetBytes: number,
    into: Uint8Array,
    signal: AbortSignal | undefined,
    ahead: ReadAhead<Handle>,
  ): number | Promise<number> {
    const onAsked = (): void => ahead.reads(offsetBytes, into.byteLength);
    return this.#trackIfLong(this.#reader.read(offsetBytes, into, signal, onAsked));
  }

  /** Reads what pages hold; undefined when something must be waited for. */
  tryRead(offsetBytes: number, into: Uint8Array, ahead: ReadAhead<Handle>): number | undefined {
    const read = this.#reader.tryRead(offsetBytes, into);
    if (read !== undefined) ahead.reads(offsetBytes, into.byteLength);
    return read;
  }

  /**
   * Writes; without an offset at the end of the file. The number comes at once where nothing needs to be
   * waited for.
   */
  write(offsetBytes: number | undefined, from: Uint8Array, signal?: AbortSignal): number | Promise<number> {
    return this.#trackIfLong(
      // Begins in the turn of the call, if possible, so that calls take effect in their order.
      this.#areRecordsFull
        ? this.#makeRecordsFit(signal).then(() => this.#write(offsetBytes, from, signal))
        : this.#write(offsetBytes, from, signal),
    );
  }

  #write(offsetBytes: number | undefined, from: Uint8Array, signal?: AbortSignal): number | Promise<number> {
    if (offsetBytes === undefined) return this.#writer.append(from, signal);
    return this.#writer.write(offsetBytes, from, signal);
  }

  /** Writes what can be written in this turn; undefined when something must be waited for. */
  tryWrite(offsetBytes: number, from: Uint8Array): number | undefined {
    return this.#areRecordsFull ? undefined : this.#writer.tryWrite(offsetBytes, from);
  }

  async truncate(sizeBytes: number, signal?: AbortSignal): Promise<void> {
    await this.#track(truncate(this.parts, this.#phases, sizeBytes, signal));
  }

  /** Makes the file at least `sizeBytes` long. */
  async grow(sizeBytes: number, signal?: AbortSignal): Promise<void> {
    await this.#track(truncate(this.parts, this.#phases, sizeBytes, signal, true));
  }

  /**
   * Gives the present content to `save`, in the form of the commit that would make it. Nothing changes in
   * this file, and uncommitted changes stay uncommitted.
   *
   * Rejects with the error of flushing, and with what `save` throws.
   */
  async saveAs(save: (handle: Handle, sub: CommitSub) => Promise<unknown>): Promise<void> {
    await this.#track(this.#committer.saveAs(sub => save(this.parts.handle, sub)));
  }

  /**
   * Commits what was done so far. While the server cannot be asked, it tries again for a minute. The signal
   * ends the waiting only.
   */
  async commit(signal?: AbortSignal): Promise<void> {
    const committing = this.#commitSurely();
    committing.catch(() => undefined);
    await abortable(committing, signal);
  }

  /** Drops everything that is not committed. */
  async discard(): Promise<void> {
    const { regions } = this.parts;
    const open = this.#gate.close();
    try {
      for (;;) {
        if (regions.writerCount > 0) await this.#flusher.changed;
        else if (this.#committer.isRunning) await this.#committer.idle();
        else break;
      }
      dropChanges(this.parts);
      this.#committer.discarded();
      this.#clock.began();
    } finally {
      open();
    }
    await this.#base.refresh();
  }

  /**
   * Ends all work on the file, and gives it back. Writes and truncates that wait fail with ECLOSED. Reads
   * under way end first. Nobody may use the file afterwards.
   */
  async end(): Promise<void> {
    this.#ended.abort(new NetsealError('ECLOSED', 'the file was closed'));
    while (this.#calls.size > 0) await Promise.allSettled(this.#calls);
    // A caller may have asked for the state and left before the answer.
    while (this.#base.isAsking) await this.#base.settled();
    await this.#ticking.idle();
    await this.#committer.idle();
    await this.#flusher.idle();
    await this.#fetches.idle();
    await this.parts.streams.idle();
    this.#room.remove(this.#flusher);
    this.parts.pages.remove();
    await this.parts.server.close(this.parts.handle);
  }

  /** Notes a call that the end of the file waits for. */
  #track<Result>(call: Promise<Result>): Promise<Result> {
    const tracked = call.finally(() => this.#calls.delete(tracked));
    this.#calls.add(tracked);
    return tracked;
  }

  #trackIfLong(call: number | Promise<number>): number | Promise<number> {
    return typeof call === 'number' ? call : this.#track(call);
  }

  get #phases(): TruncateParts<Handle> {
    return {
      base: this.#base,
      flusher: this.#flusher,
      gate: this.#gate,
      ended: this.#ended.signal,
      onChange: () => this.#changed(),
    };
  }

  #changed(): void {
    this.#committer.changed();
    this.#changedAtMs = this.parts.netfs.scheduler.now();
    this.#clock.changed(this.#changedAtMs);
    this.#ticking.start();
  }

  /** Commits what is old enough, and tries again what has failed. Ends when everything is committed. */
  async #tick(): Promise<void> {
    const { scheduler } = this.parts.netfs;
    const { signal } = this.#ended;
    let retryMs = RETRY_MS;
    while (this.#hasWork) {
      const waitMs = (this.#clock.dueAtMs ?? 0) - scheduler.now();
      if (waitMs > 0) {
        await scheduler.sleep(waitMs, signal).catch(() => undefined);
        continue;
      }
      this.#clock.began();
      try {
        await this.#committer.commit();
        retryMs = RETRY_MS;
      } catch {
        // The error was reported where it happened. The next tick tries again.
        await scheduler.sleep(retryMs, signal).catch(() => undefined);
        retryMs = Math.min(RETRY_MS_MAX, 2 * retryMs);
      }
    }
    if (!signal.aborted) this.#onCommitted();
  }

  get #hasWork(): boolean {
    return !this.isCommitted && !this.#ended.signal.aborted;
  }

  async #commitSurely(): Promise<void> {
    const { scheduler } = this.parts.netfs;
    const untilMs = scheduler.now() + WAIT_MS;
    for (let retryMs = RETRY_MS; ; retryMs *= 2) {
      try {
        this.#clock.began();
        await this.#committer.commit();
        return;
      } catch (error) {
        const isOver = scheduler.now() + retryMs > untilMs || this.#ended.signal.aborted;
        if (codeOf(error) !== 'EUNAVAILABLE' || isOver) throw error;
      }
      await scheduler.sleep(retryMs, this.#ended.signal).catch(() => undefined);
    }
  }

  /** True when the records of changes need so much memory that they must be committed. */
  get #areRecordsFull(): boolean {
    const { netfs, regions } = this.parts;
    return this.#clock.reason(netfs.scheduler.now(), regions.recordBytes, netfs.recordBytes) === 'records';
  }

  async #makeRecordsFit(signal: AbortSignal | undefined): Promise<void> {
    if (this.#areRecordsFull) await this.commit(signal);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
