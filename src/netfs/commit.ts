/**
 * Commits: makes what was done to a file visible to others, group by group.
 *
 *   closed:    in one turn the open group is closed: what was written so far is in it, nothing that comes later
 *   flushed:   all of it is placed
 *   sent:      one call of `commit`, on the version that the changes were made on
 *   committed: the group's receipts are the committed ones
 *
 * | the server says | what happens                                                                           |
 * | --------------- | -------------------------------------------------------------------------------------- |
 * | EUNCERTAIN      | the very same commit is sent again                                                     |
 * | ECONFLICT       | see `rebase.ts`; then it is sent on the new version, or there is nothing left to send    |
 * | EUNAVAILABLE    | the group stays closed; whoever commits next sends it                                  |
 * | anything else   | the same, and the error is told                                                        |
 *
 * Invariants
 *   1. A file has one commit at a time. Whoever wants one while another is under way shares the next.
 *   2. A commit holds all of its group, and nothing else.
 *   3. What a commit has sent does not change while it is sent again.
 */
import { codeOf, NetsealError } from '../base/errors.ts';
import type { Base } from './base.ts';
import { tellCommit, tellError } from './events.ts';
import type { Flusher } from './flush.ts';
import type { FileParts } from './parts.ts';
import type { BoundStash, Rebase } from './rebase.ts';
import type { Group } from './regions/region.ts';
import type { CommitSub, Committed } from './server.ts';

/** How often a commit whose answer was lost is sent again at once. */
const UNCERTAIN_MAX = 3;
/** How often a commit may lose against others before it is an error. */
const LOST_MAX = 10;

interface Closed {
  readonly upTo: number;
  readonly mtimeNs: bigint;
}

export class Committer<Handle> {
  readonly #parts: FileParts<Handle>;
  readonly #base: Base<Handle>;
  readonly #flusher: Flusher<Handle>;
  readonly #rebase: Rebase<Handle>;
  #running: Promise<void> | undefined;
  /**
   * True for a file that its first commit will make. That commit is sent even if nothing was done to the
   * file.
   */
  #isNew = false;
  /** Counts what was done to the file. */
  #changeCount = 0;
  #committedCount = 0;
  /** For each closed group: how many changes it includes, and when it was closed. */
  readonly #closed = new WeakMap<Group, Closed>();
  #commitError: unknown;

  constructor(
    parts: FileParts<Handle>,
    base: Base<Handle>,
    flusher: Flusher<Handle>,
    rebase: Rebase<Handle>,
  ) {
    this.#parts = parts;
    this.#base = base;
    this.#flusher = flusher;
    this.#rebase = rebase;
  }

  /** True when the server has everything, and a commit holds it. */
  get isCommitted(): boolean {
    return this.#committedCount === this.#changeCount;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Why the last commit failed, while none has succeeded since. */
  get error(): unknown {
    return this.#commitError;
  }

  /** Notes that the server does not have the file before its first commit. */
  begunNew(): void {
    this.#isNew = true;
  }

  /** Notes that something was done to the file. */
  changed(): void {
    this.#changeCount += 1;
  }

  /**
   * Commits what was done so far. Rejects with the error of what failed. All changes are kept then.
   */
  async commit(): Promise<void> {
    const upTo = this.#changeCount;
    while (this.#committedCount < upTo) {
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined;
      });
      await this.#running;
    }
  }

  /** Resolves when no commit is under way, even if the last one failed. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => undefined);
  }

  /**
   * Gives everything that is not committed to `save`, in the form of one commit. The changes stay uncommitted
   * here. Rejects with the error of flushing, and with what `save` throws.
   */
  async saveAs(save: BoundStash): Promise<void> {
    while (this.#running !== undefined) await this.#running.catch(() => undefined);
    const mtimeNs = BigInt(this.#parts.netfs.scheduler.now()) * 1_000_000n;
    const saving = this.#rebase.saveAs(() => this.#closeAll(), mtimeNs, save);
    // Whoever waits for a commit must not be told of a failure of `save`.
    this.#running = saving
      .catch(() => undefined)
      .finally(() => {
        this.#running = undefined;
      });
    await saving;
  }

  /** Notes that all changes were dropped. No commit may be under way. */
  discarded(): void {
    this.#committedCount = this.#changeCount;
    this.#commitError = undefined;
    this.#lostCount = 0;
    this.#rebase.discarded();
    this.#flusher.succeeded();
  }

  async #run(): Promise<void> {
    try {
      await this.#commitNext();
      this.#commitError = undefined;
      this.#flusher.succeeded();
    } catch (error) {
      this.#commitError = error;
      throw error;
    }
  }

  async #commitNext(): Promise<void> {
    const { regions } = this.#parts;
    const group = regions.oldestClosed ?? this.#close();
    if (group === undefined) {
      // The group would be empty: what was done has changed nothing.
      this.#committedCount = this.#changeCount;
      return;
    }
    await this.#flusher.flushGroup(group);
    // A flush failed, was told of, and the group was folded. The next round commits it with later changes.
    if (group.state !== 'closed') return;
    await this.#send(group);
  }

  /** Closes the open group, unless nothing is in it. */
  #close(): Group | undefined {
    const { regions, netfs } = this.#parts;
    const group = regions.closeGroup(this.#isNew);
    if (group === undefined) return undefined;
    this.#closed.set(group, {
      upTo: this.#changeCount,
      mtimeNs: BigInt(netfs.scheduler.now()) * 1_000_000n,
    });
    return group;
  }

  /** Puts everything that is not committed into one closed group. */
  #closeAll(): Group | undefined {
    const { regions } = this.#parts;
    if (regions.oldestClosed !== undefined) regions.fold(regions.oldestClosed);
    return this.#close();
  }

  async #send(group: Group): Promise<void> {
    const { regions } = this.#parts;
    const closed = this.#closed.get(group);
    if (closed === undefined) throw new NetsealError('EBUG', 'a group was closed by nobody');
    const sub = { ...regions.toCommit(group), mtimeNs: closed.mtimeNs };
    let state: Committed;
    try {
      state = await this.#sendSurely(sub);
    } catch (error) {
      if (codeOf(error) === 'ECONFLICT') {
        await this.#conflict();
        return;
      }
      this.#record(error);
      throw error;
    }
    // In one turn: pages, receipts and the version belong together.
    regions.committed(group, state);
    this.#base.wasTold();
    if (group.state === 'committed') this.#committedCount = closed.upTo;
    this.#isNew = false;
    this.#lostCount = 0;
    this.#rebase.committed();
    this.#flusher.tellChange();
    tellCommit(this.#parts.key, state.sizeBytes, sub.receipts.size);
    if (state.problem !== undefined) this.#record(state.problem);
  }

  #lostCount = 0;

  /** Sends a commit, and sends it again when its answer is lost. */
  async #sendSurely(sub: CommitSub): Promise<Committed> {
    const { server, handle } = this.#parts;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await server.commit(handle, sub);
      } catch (error) {
        if (codeOf(error) !== 'EUNCERTAIN') throw error;
        this.#rebase.mayHaveHappened(sub);
        if (attempt >= UNCERTAIN_MAX) throw error;
      }
    }
  }

  /** Another client has changed the file. Afterwards the changes stand on its version, or are put aside. */
  async #conflict(): Promise<void> {
    this.#lostCount += 1;
    const isGivenUp = this.#lostCount > LOST_MAX;
    // A later attempt counts from 0 again.
    if (isGivenUp) this.#lostCount = 0;
    try {
      const resolving = { closeAll: () => this.#closeAll(), onDropped: () => this.discarded() };
      await this.#rebase.resolve(resolving, isGivenUp);
    } catch (error) {
      this.#record(error);
      throw error;
    }
  }

  #record(error: unknown): void {
    tellError(this.#parts.key, error);
    if (codeOf(error) !== 'EUNAVAILABLE') this.#parts.errors.record(error);
  }
}
