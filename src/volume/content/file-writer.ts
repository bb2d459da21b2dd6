/**
 * Writes a file: at any place, or from front to back. Units are sealed as they fill. Where only part of a
 * unit is written, its other bytes are read first. Others see nothing before {@link FileWriter.commit}, and
 * then everything.
 *
 * Invariants
 *   1. A unit's latest content is in `#open` if it is there, else where `#upload` points, else in the base
 *      version.
 *   2. A unit leaves `#open` in the same turn in which its bytes are handed over. If it is sealed again, the
 *      later record counts.
 *   3. The writer's own plain memory is at most OPEN_BYTES_MAX and one unit. Units that are being sealed lie
 *      in the pipeline's memory.
 *   4. After an error nothing can be committed any more, as it is unknown which bytes were written.
 *
 * Calls must not overlap, except `write`s, which queue up.
 */
import { requireBytes, requireInteger } from '../../base/arguments.ts';
import { copyBytes } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { MIB, SIZE_BYTES_MAX, sizeToUnitCount } from '../../base/geometry.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { readUnits } from '../../server/sealed/unit-reader.ts';
import { nowNs, type Session } from '../session/session.ts';
import { ContentUpload } from './content-upload.ts';
import type { FileCommits } from './file-commits.ts';

/** Beyond so many bytes, units that are being filled are sealed; one unit may exceed it. */
const OPEN_BYTES_MAX: number = 8 * MIB;
/** Plain bytes that are sealed at a time; at least one unit. */
const BATCH_BYTES: number = 4 * MIB;

interface OpenUnit {
  /** One unit long. */
  readonly bytes: Uint8Array;
  /** How many bytes from the start are in use; the rest is zeros. */
  filledBytes: number;
}

export class FileWriter {
  readonly #session: Session;
  readonly #commits: FileCommits;
  /** Tells the session that the file is no longer open. */
  readonly #release: () => void;
  readonly #open = new Map<number, OpenUnit>();
  /** The last unit as it was handed over, so that appending after a commit need not read it. */
  #tail: { readonly index: number; readonly unit: OpenUnit } | undefined;
  #base: FileInode;
  #upload: ContentUpload;
  #sizeBytes: number;
  #positionBytes: number;
  #queue: Promise<unknown> = Promise.resolve();
  #failure: unknown;
  #isChanged = false;
  #isClosed = false;

  constructor(session: Session, base: FileInode, commits: FileCommits) {
    this.#session = session;
    this.#commits = commits;
    this.#base = base;
    this.#upload = new ContentUpload(session, base);
    this.#sizeBytes = base.sizeBytes;
    this.#positionBytes = 0;
    // A new file has its name to commit, even if nothing is written.
    this.#isChanged = commits.isNew;
    // A new file has no old content that other clients must keep.
    this.#release = commits.isNew ? () => undefined : session.openFiles.open(session.nowMs());
  }

  /** The size of the file, uncommitted writes included. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The inode as it was committed last. */
  get inode(): FileInode {
    return this.#base;
  }

  /**
   * Writes at `offsetBytes`; by default where the last write ended, at first 0. `bytes` must not change
   * before the call settles; they are copied by then.
   *
   * Rejects with EINVAL when the file would be too large; ECLOSED; EAUTH, EMISSING, ... when the other bytes
   * of a unit cannot be read.
   */
  write(bytes: Uint8Array, offsetBytes?: number): Promise<void> {
    return this.#enqueue(() => this.#write(bytes, offsetBytes));
  }

  /** Shortens the file, or lengthens it with a hole. EINVAL unless the size is a whole number from 0. */
  truncate(sizeBytes: number): Promise<void> {
    return this.#enqueue(() => this.#truncate(sizeBytes));
  }

  /**
   * Commits everything written so far. When it resolves, the store has it. Returns the inode as it is then.
   *
   * Rejects with ECONFLICT when another client has changed the content since this writer was opened or last
   * committed; with what a failed upload failed with; and with what the store throws. The writer is of no use
   * afterwards.
   */
  commit(): Promise<FileInode> {
    return this.#enqueue(() => this.#commit());
  }

  /** Commits and ends the writer. A second call does nothing. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.commit();
      this.#isClosed = true;
    } finally {
      this.#release();
    }
  }

  /** Ends the writer. Writes since the last commit are lost. */
  async abort(): Promise<void> {
    this.#isClosed = true;
    this.#release();
    await this.#queue;
    await this.#upload.abandon();
    this.#open.clear();
  }

  /**
   * Ends the writer as {@link abort} does, unless it is closed: an error on the way must not commit a part.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) await this.abort();
  }

  #enqueue<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(async () => {
      if (this.#isClosed) throw new NetsealError('ECLOSED', 'the file was closed');
      this.#session.requireOpen();
      if (this.#failure !== undefined) throw this.#failure;
      this.#upload.throwIfFailed();
      return await work();
    });
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #write(bytes: Uint8Array, givenBytes: number | undefined): Promise<void> {
    requireBytes('bytes', bytes);
    if (givenBytes !== undefined) requireInteger('offsetBytes', givenBytes);
    const offsetBytes = givenBytes ?? this.#positionBytes;
    requireArgument(
      offsetBytes + bytes.byteLength <= SIZE_BYTES_MAX,
      `cannot write ${bytes.byteLength} bytes at ${offsetBytes}`,
    );
    const { unitSizeBytes } = this.#base;
    for (let done = 0; done < bytes.byteLength; ) {
      const index = Math.floor((offsetBytes + done) / unitSizeBytes);
      const within = offsetBytes + done - index * unitSizeBytes;
      const part = bytes.subarray(done, done + unitSizeBytes - within);
      const unit = await this.#openUnit(index, within, part.byteLength).catch(error => {
        if (done > 0) this.#failure ??= error;
        throw error;
      });
      copyBytes(part, unit.bytes, within);
      unit.filledBytes = Math.max(unit.filledBytes, within + part.byteLength);
      done += part.byteLength;
      this.#isChanged = true;
      this.#sizeBytes = Math.max(this.#sizeBytes, offsetBytes + done);
      if (this.#open.size * unitSizeBytes > OPEN_BYTES_MAX) await this.#sealOpen(index);
    }
    this.#positionBytes = offsetBytes + bytes.byteLength;
  }

  /**
   * Returns the memory of a unit. It holds the unit's present content, unless all of that is about to be
   * overwritten.
   */
  async #openUnit(index: number, within: number, lengthBytes: number): Promise<OpenUnit> {
    const known = this.#open.get(index) ?? this.#takeTail(index);
    if (known !== undefined) return known;
    const { unitSizeBytes } = this.#base;
    const unit: OpenUnit = { bytes: new Uint8Array(unitSizeBytes), filledBytes: 0 };
    const validBytes = Math.min(unitSizeBytes, this.#sizeBytes - index * unitSizeBytes);
    if (validBytes > 0 && (within > 0 || lengthBytes < validBytes)) {
      unit.filledBytes = await this.#readUnit(index, validBytes, unit.bytes);
    }
    this.#open.set(index, unit);
    return unit;
  }

  #takeTail(index: number): OpenUnit | undefined {
    if (this.#tail?.index !== index) return undefined;
    const { unit } = this.#tail;
    this.#tail = undefined;
    this.#open.set(index, unit);
    return unit;
  }

  /** Reads a unit as it was sealed last. Returns how many bytes it has. */
  async #readUnit(index: number, plainBytesMax: number, into: Uint8Array): Promise<number> {
    const pointer = await this.#upload.find(index);
    if (pointer === undefined) return 0;
    const { id: objectId, unitSizeBytes } = this.#base;
    // A unit that was placed just now may not be in the store yet.
    await this.#makeReadable(pointer.segment);
    const request = { objectId, index, unitSizeBytes, pointer, plainBytesMax };
    const { units, release } = await readUnits(this.#session.sealing, [request]);
    try {
      const [unit] = units;
      if (unit?.error !== undefined) throw unit.error;
      if (unit === undefined) return 0;
      copyBytes(unit.bytes, into);
      return unit.bytes.byteLength;
    } finally {
      release();
    }
  }

  async #makeReadable(segment: string): Promise<void> {
    const { dataSegments } = this.#session;
    dataSegments.closeIfOpen(segment);
    await dataSegments.durable(segment);
  }

  /** Hands all open units to the workers, except one that is likely to be written next. */
  async #sealOpen(keepIndex?: number): Promise<void> {
    const { unitSizeBytes } = this.#base;
    const kept = keepIndex === undefined ? undefined : this.#open.get(keepIndex);
    const ready = [...this.#open].filter(([, unit]) => unit !== kept || unit.filledBytes === unitSizeBytes);
    ready.sort(([left], [right]) => left - right);
    // Small units may take twice as much memory sealed.
    const batchBytes = Math.min(BATCH_BYTES, this.#session.sealing.pipeline.slabBytes / 4);
    const perBatch = Math.max(1, Math.floor(batchBytes / unitSizeBytes));
    for (let at = 0; at < ready.length; at += perBatch) await this.#sealBatch(ready.slice(at, at + perBatch));
    if (this.#upload.isLarge) await this.#upload.settle();
  }

  async #sealBatch(units: readonly (readonly [number, OpenUnit])[]): Promise<void> {
    const { unitSizeBytes } = this.#base;
    const totalBytes = units.reduce((sum, [, { filledBytes }]) => sum + filledBytes, 0);
    // `truncate` has cut all of these units down to nothing: they are holes.
    if (totalBytes === 0) {
      for (const [index] of units) {
        this.#open.delete(index);
        this.#upload.point(index, undefined);
      }
      return;
    }
    const batch = await this.#upload.reserve(totalBytes);
    let offsetBytes = 0;
    for (const [index, unit] of units) {
      const { bytes, filledBytes } = unit;
      this.#open.delete(index);
      if (filledBytes === 0) {
        this.#upload.point(index, undefined);
        continue;
      }
      const isLast = (index + 1) * unitSizeBytes > this.#sizeBytes;
      if (isLast) this.#tail = { index, unit };
      copyBytes(bytes.subarray(0, filledBytes), batch.bytes, offsetBytes);
      batch.add(index, offsetBytes, filledBytes);
      offsetBytes += filledBytes;
    }
    void batch.submit();
  }

  async #truncate(sizeBytes: number): Promise<void> {
    requireInteger('sizeBytes', sizeBytes, 0, SIZE_BYTES_MAX);
    if (sizeBytes < this.#sizeBytes) {
      const { unitSizeBytes } = this.#base;
      const unitCount = sizeToUnitCount(sizeBytes, unitSizeBytes);
      const lastBytes = sizeBytes - (unitCount - 1) * unitSizeBytes;
      // Bytes that are cut off must not come back when the file grows again.
      if (unitCount > 0 && lastBytes < unitSizeBytes) await this.#cut(unitCount - 1, lastBytes);
      for (const index of [...this.#open.keys()]) if (index >= unitCount) this.#open.delete(index);
      this.#tail = undefined;
      await this.#upload.truncate(sizeBytes);
    }
    this.#sizeBytes = sizeBytes;
    this.#isChanged = true;
  }

  /** Cuts a unit off at a length. */
  async #cut(index: number, lengthBytes: number): Promise<void> {
    const isInMemory = this.#open.has(index) || this.#tail?.index === index;
    if (!isInMemory && (await this.#upload.cutUnopened(index, lengthBytes))) return;
    const unit = await this.#openUnit(index, 0, 0);
    unit.bytes.fill(0, lengthBytes);
    unit.filledBytes = Math.min(unit.filledBytes, lengthBytes);
  }

  async #commit(): Promise<FileInode> {
    if (!this.#isChanged) return this.#base;
    try {
      await this.#sealOpen();
      const uploaded = await this.#upload.finish(this.#sizeBytes);
      const time = nowNs(this.#session);
      const times = { mtimeNs: time, ctimeNs: time };
      this.#base = await this.#commits.commit({ ...uploaded, base: this.#base, times });
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
    this.#upload = new ContentUpload(this.#session, this.#base);
    this.#isChanged = false;
    return this.#base;
  }
}
