/**
 * The content of one file on its way from plain bytes into segments. `FileWriter` and `put` both write
 * through it. Many small files share a `SmallUpload` instead.
 *
 *   reserve   waits for memory; the caller fills `bytes` and lists the units in it
 *   submit    workers seal the units; they are placed in segments, and the extent map learns where
 *   finish    gives the content for an inode, and the segments that must be durable before its commit
 *
 * Invariants
 *   1. Units are placed in the order in which they were submitted. One that is submitted twice counts as
 *      submitted last.
 *   2. Memory does not grow with the file: {@link ContentUpload.settle} moves what was placed into map pages.
 *   3. After a failure nothing can be finished, as it is no longer known which units are where.
 */
import type { FileInode } from '../../server/sealed/inode.ts';
import { isSlicePointer, type Pointer } from '../../server/sealed/pointer.ts';
import type { UnitBatch } from '../../server/sealed/unit-writer.ts';
import type { Session } from '../session/session.ts';
import { FileContent, type UploadedContent } from './file-content.ts';

export class ContentUpload {
  readonly #session: Session;
  readonly #inode: FileInode;
  readonly #content: FileContent;
  /** Batches that are being sealed and placed, in order. None of these promises rejects. */
  readonly #underWay = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  /** @param inode the file as it is: units that are not written keep the content that it points to. */
  constructor(session: Session, inode: FileInode) {
    this.#session = session;
    this.#inode = inode;
    this.#content = new FileContent(session, inode);
  }

  /** True when so much was placed that {@link settle} should be called. */
  get isLarge(): boolean {
    return this.#content.isLarge;
  }

  /** Throws what sealing, placing or the map has failed with. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** Waits for memory for the plain bytes of some units. Rejects as `Pipeline.reservePlain` does. */
  async reserve(lengthBytes: number, signal?: AbortSignal): Promise<ContentBatch> {
    const batch = await this.#session.units.reserve(lengthBytes, signal);
    return new ContentBatch(batch, this.#inode, indices => this.#submit(batch, indices));
  }

  /**
   * Points a unit to a record that lies in a segment already; undefined makes the unit a hole. The unit must
   * not be under way.
   */
  point(index: number, pointer: Pointer | undefined): void {
    this.#content.set(index, pointer);
  }

  /**
   * Waits until at most `batchesMax` batches are under way, and moves pointers into map pages if there are
   * many. Rejects with what failed.
   */
  async settle(batchesMax: number = 0): Promise<void> {
    for (const batch of this.#underWay) {
      if (this.#underWay.size <= batchesMax) break;
      await batch;
    }
    this.throwIfFailed();
    await this.#guard(this.#content.foldIfLarge());
  }

  /** Waits until everything submitted is placed. Returns where a unit lies; undefined for a hole. */
  async find(index: number): Promise<Pointer | undefined> {
    await this.settle();
    return await this.#content.find(index);
  }

  /**
   * Cuts a unit off at a length if it lies in a pack, or is a hole: neither needs the unit's bytes. Returns
   * false for any other unit, which the caller rewrites.
   */
  async cutUnopened(index: number, lengthBytes: number): Promise<boolean> {
    const pointer = await this.find(index);
    if (pointer === undefined) return true;
    if (!isSlicePointer(pointer)) return false;
    this.#content.shorten(index, pointer, lengthBytes);
    return true;
  }

  /** Drops the units that lie beyond a new end. The unit that the new end lies in must have been cut off. */
  async truncate(sizeBytes: number): Promise<void> {
    await this.settle();
    await this.#guard(this.#content.truncate(sizeBytes));
  }

  /**
   * Waits until everything is placed, and returns the content as it is then. Nothing may be submitted
   * afterwards.
   */
  async finish(sizeBytes: number): Promise<UploadedContent> {
    await this.settle();
    const content = await this.#guard(this.#content.finish(sizeBytes));
    return { content, segments: this.#content.segments };
  }

  /** Waits until no batch is under way, even if batches fail. */
  async abandon(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  #submit(batch: UnitBatch, indices: readonly number[]): Promise<(Pointer | undefined)[]> {
    const placed = batch.submit();
    const ended = placed.then(
      pointers => {
        for (const [at, index] of indices.entries()) this.#content.set(index, pointers[at]);
      },
      error => {
        this.#failure ??= { error };
      },
    );
    this.#underWay.add(ended);
    void ended.then(() => this.#underWay.delete(ended));
    return placed;
  }

  async #guard<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work;
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    }
  }
}

/** Plain bytes of some units of one file. Submit it or drop it. */
export class ContentBatch {
  readonly #batch: UnitBatch;
  readonly #inode: FileInode;
  readonly #indices: number[] = [];
  readonly #submit: (indices: readonly number[]) => Promise<(Pointer | undefined)[]>;

  /** @internal Made by {@link ContentUpload.reserve} only. */
  constructor(
    batch: UnitBatch,
    inode: FileInode,
    submit: (indices: readonly number[]) => Promise<(Pointer | undefined)[]>,
  ) {
    this.#batch = batch;
    this.#inode = inode;
    this.#submit = submit;
  }

  /** Shared memory to fill. It must hold still from {@link submit} on. */
  get bytes(): Uint8Array<SharedArrayBuffer> {
    return this.#batch.bytes;
  }

  /** Lists a unit whose content lies at [offset, offset + length) of {@link bytes}. */
  add(index: number, offsetBytes: number, lengthBytes: number): void {
    const { id, unitSizeBytes } = this.#inode;
    this.#batch.add(id, index, unitSizeBytes, offsetBytes, lengthBytes);
    this.#indices.push(index);
  }

  /**
   * Has the units sealed and placed; the memory is given back by itself. Call it once.
   *
   * @returns a pointer for each unit, in order; undefined for one that is all zeros and became a hole. The
   *   caller may ignore it: the upload takes the pointers over, and its next call throws what failed.
   */
  submit(): Promise<(Pointer | undefined)[]> {
    return this.#submit(this.#indices);
  }

  /** Gives the memory back without sealing anything. */
  drop(): void {
    this.#batch.drop();
  }
}
