/**
 * Flushes a file: sends what is dirty to the server, some units at a time, in the background or for a commit.
 *
 * Invariants
 *   1. What was flushed is readable all the time: from pages until it is durable, from the server afterwards.
 *   2. A failure leaves everything dirty. It is told once; whoever flushes next tries again.
 */
import { codeOf } from '../base/errors.ts';
import type { Base } from './base.ts';
import { tellError } from './events.ts';
import type { Fetches } from './fetch.ts';
import type { FileParts } from './parts.ts';
import { type Choice, Preparation } from './prepare.ts';
import type { Group } from './regions/region.ts';
import type { Flushable, Room } from './room.ts';
import { Uploads } from './upload.ts';

/** Batches of a commit that are prepared at once. */
const LANES = 3;

export class Flusher<Handle> implements Flushable {
  readonly #parts: FileParts<Handle>;
  readonly #room: Room;
  readonly #preparation: Preparation<Handle>;
  readonly #uploads: Uploads<Handle>;
  /** Resolved and replaced at each change: see {@link changed}. */
  #changed = Promise.withResolvers<void>();
  #flushError: unknown;
  /** The last failure, even if a flush has succeeded since. */
  #lastFailure: unknown;
  #failureCount = 0;
  readonly #preparing = new Set<Promise<boolean>>();

  constructor(parts: FileParts<Handle>, base: Base<Handle>, fetches: Fetches<Handle>, room: Room) {
    this.#parts = parts;
    this.#room = room;
    this.#preparation = new Preparation(parts, base, fetches, () => this.#pushIfMemoryIsAwaited());
    this.#uploads = new Uploads(parts, {
      onChange: () => this.#changedUploads(),
      onPlaced: dirtyBytes => {
        room.placed(dirtyBytes);
        this.#changedUploads();
      },
      onDurable: () => this.succeeded(),
      onFailure: error => this.#fail(error),
    });
  }

  get dirtyBytes(): number {
    return this.#parts.regions.dirtyBytes;
  }

  /** Why the last flush failed; undefined once one has succeeded. */
  get flushError(): unknown {
    return this.#flushError;
  }

  get standingError(): unknown {
    return codeOf(this.#flushError) === 'EUNAVAILABLE' ? undefined : this.#flushError;
  }

  push(): void {
    this.#parts.server.push();
  }

  async flushSome(): Promise<boolean> {
    if (await this.#flushBatch({ takes: 'whole' })) return true;
    return await this.#flushBatch({ takes: 'pressed' });
  }

  /**
   * Flushes all of a closed group. Resolves when it is placed, or not closed any more.
   *
   * Rejects with what a flush failed with. The group was folded if that flush had begun.
   */
  async flushGroup(group: Group): Promise<void> {
    const { regions } = this.#parts;
    const failureCount = this.#failureCount;
    const isDone = (): boolean => group.state !== 'closed' || regions.isPlaced(group);
    let error: unknown;
    const lane = async (): Promise<void> => {
      while (!isDone() && error === undefined) {
        const changed = this.changed;
        if (await this.#flushBatch({ takes: 'pressed', group })) continue;
        // Nothing can be taken now: what is left waits for an earlier flush, or is being written or prepared.
        if (!isDone()) await changed;
      }
    };
    const lanes = Array.from({ length: LANES }, () =>
      lane().catch(cause => {
        error ??= cause;
      }),
    );
    await Promise.all(lanes);
    if (error !== undefined) throw error;
    if (group.state === 'folded' && this.#failureCount !== failureCount) throw this.#lastFailure;
  }

  /** Resolves when something was placed, has failed, was written, or is durable. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  tellChange(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers();
    resolve();
    this.#room.check();
  }

  /** The server has taken data: what failed before may succeed now. */
  succeeded(): void {
    if (this.#flushError === undefined) return;
    this.#flushError = undefined;
    this.#room.recovered();
  }

  /** Resolves when nothing is prepared or on its way. */
  async idle(): Promise<void> {
    while (this.#preparing.size > 0) await Promise.allSettled(this.#preparing);
    // A record that was truncated away or discarded may lie in a segment that nobody else sends.
    if (this.#uploads.isBusy) this.push();
    await this.#uploads.idle();
  }

  /** Prepares and sends one batch. Returns false when there was nothing to take. */
  async #flushBatch(choice: Choice): Promise<boolean> {
    const preparing = this.#prepare(choice);
    this.#preparing.add(preparing);
    try {
      return await preparing;
    } finally {
      this.#preparing.delete(preparing);
    }
  }

  async #prepare(choice: Choice): Promise<boolean> {
    try {
      const prepared = await this.#preparation.prepare(choice);
      if (prepared === undefined) return false;
      this.#uploads.begin(prepared);
    } catch (error) {
      this.#fail(error);
      this.tellChange();
      throw error;
    }
    this.#pushIfMemoryIsAwaited();
    this.tellChange();
    return true;
  }

  /**
   * Tells of a change of the uploads. The server may hold newly placed records back, and keep memory with
   * them.
   */
  #changedUploads(): void {
    this.tellChange();
    this.#pushIfMemoryIsAwaited();
  }

  #fail(error: unknown): void {
    this.#flushError = error;
    this.#lastFailure = error;
    this.#failureCount += 1;
    tellError(this.#parts.key, error);
    // EUNAVAILABLE is not recorded: the flush is tried again by itself.
    if (codeOf(error) !== 'EUNAVAILABLE') this.#parts.errors.record(error);
    this.#room.failed(this);
  }

  /** Makes servers send what they hold back if its memory (pages, uncopied sealed bytes) is waited for. */
  #pushIfMemoryIsAwaited(): void {
    const { netfs, server } = this.#parts;
    const isAwaited =
      !server.capabilities.copiesWrites && netfs.pipeline.memory.some(({ waiterCount }) => waiterCount > 0);
    if (isAwaited) this.#room.pushAll();
    else this.#room.pushIfAwaited();
  }
}
