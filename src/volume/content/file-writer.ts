/**
 * Writes a file: at any place, or from front to back. Whole units are sealed as they fill; the rest of a unit that is only
 * partly written is read first. Nothing of it can be seen before {@link FileWriter.commit}, and then all of it.
 *
 * Invariants
 *   1. A unit's latest content is in `#open` if it is there, else where `#upload` points, else in the base version.
 *   2. A unit leaves `#open` in the same turn in which its memory is handed over; a later seal of the same unit is placed later,
 *      and counts.
 *   3. Plain memory of its own: at most OPEN_BYTES_MAX and one unit; what is being sealed lies in the pipeline's.
 *   4. After an error nothing can be committed any more: what was written is no longer known.
 *
 * Calls must not overlap, but for `write`s, which queue up.
 */
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { MIB, sizeToUnitCount } from '../../base/geometry.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import { readUnits } from '../../server/sealed/unit-reader.ts';
import { nowNs, type Session } from '../session/session.ts';
import { ContentUpload } from './content-upload.ts';
import type { FileCommits } from './file-commits.ts';

/** Units that are being filled take no more, but for one. */
const OPEN_BYTES_MAX: number = 8 * MIB;
/** Units are sealed so many bytes at a time, at least one. */
const BATCH_BYTES: number = 4 * MIB;
/** The largest file: what a number counts exactly. */
const SIZE_BYTES_MAX: number = Number.MAX_SAFE_INTEGER;

interface OpenUnit {
  /** As long as a unit. */
  readonly bytes: Uint8Array;
  /** Up to where it is filled; the rest is zeros. */
  filledBytes: number;
}

export class FileWriter {
  readonly #session: Session;
  readonly #commits: FileCommits;
  /** Ends what its head says of this file. */
  readonly #release: () => void;
  readonly #open = new Map<number, OpenUnit>();
  /** The last unit as it was handed over: appending to it after a commit needs no reading. */
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
    // There is something to commit even if nothing is written: the name.
    this.#isChanged = commits.isNew;
    // A new file has no content that gc could take for garbage.
    this.#release = commits.isNew ? () => undefined : session.openFiles.open(session.nowMs());
  }

  /** With what was written and not yet committed. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The inode as it was committed last. */
  get inode(): FileInode {
    return this.#base;
  }

  /**
   * Writes at `offsetBytes`; without it, where the last write ended, at first 0. `bytes` is copied before the call settles.
   * EINVAL when the file would be too large; EAUTH, EMISSING, ... when the rest of a unit cannot be read; ECLOSED.
   */
  write(bytes: Uint8Array, offsetBytes?: number): Promise<void> {
    return this.#enqueue(() => this.#write(bytes, offsetBytes ?? this.#positionBytes));
  }

  /** Shortens the file, or lengthens it by a hole. */
  truncate(sizeBytes: number): Promise<void> {
    return this.#enqueue(() => this.#truncate(sizeBytes));
  }

  /**
   * Commits what was written so far: when it resolves, the file has it, in the store. ECONFLICT when another client changed
   * the content since this writer (or its last commit) began; what a lost upload failed with.
   */
  commit(): Promise<FileInode> {
    return this.#enqueue(() => this.#commit());
  }

  /** Commits, and ends. Calling it again does nothing. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    try {
      await this.commit();
      this.#isClosed = true;
    } finally {
      this.#release();
    }
  }

  /** Ends without committing what is not committed. */
  async abort(): Promise<void> {
    this.#isClosed = true;
    this.#release();
    await this.#queue;
    await this.#upload.abandon();
    this.#open.clear();
  }

  #enqueue<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(async () => {
      if (this.#isClosed) throw new NetsealError('ECLOSED', 'the file was closed');
      if (this.#failure !== undefined) throw this.#failure;
      this.#upload.throwIfFailed();
      return await work();
    });
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #write(bytes: Uint8Array, offsetBytes: number): Promise<void> {
    requireArgument(
      Number.isSafeInteger(offsetBytes) &&
        offsetBytes >= 0 &&
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
      unit.bytes.set(part, within);
      unit.filledBytes = Math.max(unit.filledBytes, within + part.byteLength);
      done += part.byteLength;
      this.#isChanged = true;
      this.#sizeBytes = Math.max(this.#sizeBytes, offsetBytes + done);
      if (this.#open.size * unitSizeBytes > OPEN_BYTES_MAX) await this.#sealOpen(index);
    }
    this.#positionBytes = offsetBytes + bytes.byteLength;
  }

  /** A unit's memory with its present content, unless all of that is about to be overwritten. */
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

  /** Reads a unit as it was sealed last; returns how many bytes it has. */
  async #readUnit(index: number, plainBytesMax: number, into: Uint8Array): Promise<number> {
    const pointer = await this.#upload.find(index);
    if (pointer === undefined) return 0;
    const { id: objectId, unitSizeBytes } = this.#base;
    // Placed just now, it may still be on its way.
    await this.#makeReadable(pointer.segment);
    const request = { objectId, index, unitSizeBytes, pointer, plainBytesMax };
    const { units, release } = await readUnits(this.#session.sealing, [request]);
    try {
      const [unit] = units;
      if (unit?.error !== undefined) throw unit.error;
      into.set(unit?.bytes ?? []);
      return unit?.bytes.byteLength ?? 0;
    } finally {
      release();
    }
  }

  async #makeReadable(segment: string): Promise<void> {
    const { dataSegments } = this.#session;
    dataSegments.closeIfOpen(segment);
    await dataSegments.durable(segment);
  }

  /** Hands all open units to the workers, but for one that is likely to be written next. */
  async #sealOpen(keepIndex?: number): Promise<void> {
    const { unitSizeBytes } = this.#base;
    const kept = keepIndex === undefined ? undefined : this.#open.get(keepIndex);
    const ready = [...this.#open].filter(([, unit]) => unit !== kept || unit.filledBytes === unitSizeBytes);
    ready.sort(([left], [right]) => left - right);
    // Sealed, small units may take twice as much.
    const batchBytes = Math.min(BATCH_BYTES, this.#session.sealing.pipeline.slabBytes / 4);
    const perBatch = Math.max(1, Math.floor(batchBytes / unitSizeBytes));
    for (let at = 0; at < ready.length; at += perBatch) await this.#sealBatch(ready.slice(at, at + perBatch));
    if (this.#upload.isLarge) await this.#upload.settle();
  }

  async #sealBatch(units: readonly (readonly [number, OpenUnit])[]): Promise<void> {
    const { unitSizeBytes } = this.#base;
    const totalBytes = units.reduce((sum, [, { filledBytes }]) => sum + filledBytes, 0);
    // Only zeros were left of it.
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
      batch.bytes.set(bytes.subarray(0, filledBytes), offsetBytes);
      batch.add(index, offsetBytes, filledBytes);
      offsetBytes += filledBytes;
    }
    void batch.submit();
  }

  async #truncate(sizeBytes: number): Promise<void> {
    requireArgument(
      Number.isSafeInteger(sizeBytes) && sizeBytes >= 0 && sizeBytes <= SIZE_BYTES_MAX,
      `cannot make a file ${sizeBytes} bytes long`,
    );
    if (sizeBytes < this.#sizeBytes) {
      const { unitSizeBytes } = this.#base;
      const unitCount = sizeToUnitCount(sizeBytes, unitSizeBytes);
      const lastBytes = sizeBytes - (unitCount - 1) * unitSizeBytes;
      // The bytes that are cut off must not come back when the file grows again.
      if (unitCount > 0 && lastBytes < unitSizeBytes) {
        const unit = await this.#openUnit(unitCount - 1, 0, 0);
        unit.bytes.fill(0, lastBytes);
        unit.filledBytes = Math.min(unit.filledBytes, lastBytes);
      }
      for (const index of [...this.#open.keys()]) if (index >= unitCount) this.#open.delete(index);
      this.#tail = undefined;
      await this.#upload.truncate(sizeBytes);
    }
    this.#sizeBytes = sizeBytes;
    this.#isChanged = true;
  }

  async #commit(): Promise<FileInode> {
    if (!this.#isChanged) return this.#base;
    try {
      await this.#sealOpen();
      const { content, segments } = await this.#upload.finish(this.#sizeBytes);
      const time = nowNs(this.#session);
      const change = { ...content, mtimeNs: time, ctimeNs: time };
      this.#base = await this.#commits.commit(this.#base, change, segments);
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
    this.#upload = new ContentUpload(this.#session, this.#base);
    this.#isChanged = false;
    return this.#base;
  }
}
