/**
 * Writes many small files at a time. The content of each is one unit or none, and all share a batch of plain
 * memory. Small ones share records as well: a _pack_ is compressed and encrypted as one, and each file's
 * pointer says which slice of it is the file's. `ContentUpload` is for one file of any size.
 *
 *   reserve ──▶ `next` and `add` for each file ──▶ submit ──▶ `finish` for each file
 *
 * The plain memory, while it is being filled:
 *
 *   │ pack │ pack │ pack being filled → │        free        │ ← units of their own │
 *
 * Invariants
 *   1. A pack lies in one piece, in the order in which its files were added. It holds at least two files:
 *      a single one gets a unit of its own.
 *   2. All files of a pack have one owner. Otherwise the length of the pack would tell one user something of
 *      another's content.
 *   3. An all-zero file lies nowhere: it is a hole.
 */
import { isAllZero } from '../../base/bytes.ts';
import { KIB } from '../../base/geometry.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import type { Pointer } from '../../server/sealed/pointer.ts';
import type { UnitBatch, UnitWriter } from '../../server/sealed/unit-writer.ts';

/** Longer files get units of their own: they gain little by being compressed together with others. */
const PACKED_FILE_BYTES_MAX: number = 64 * KIB;

/** The unit that a file's content becomes, unless it lies in a pack. */
export type SmallUnit = Pick<FileInode, 'id' | 'uid' | 'unitSizeBytes'> & {
  /** Default 0. */
  readonly index?: number;
};

/** Where the content of a file is going to be. Only {@link SmallUpload} looks into it. */
export interface SmallContent {
  readonly record: SmallRecord;
  /** The slice of the pack, if it is in one. */
  readonly startBytes: number;
  readonly lengthBytes: number;
}

/** A record that has been begun. Its fields are set when it is complete. */
interface SmallRecord {
  /** Its position among the batch's units; -1 until then. */
  at: number;
  pack?: { readonly packId: Id; readonly packBytes: number };
}

interface OpenPack {
  readonly record: SmallRecord;
  /** The first file of the pack, for the case that it stays the only one. */
  readonly first: SmallUnit;
  readonly startBytes: number;
  endBytes: number;
  fileCount: number;
}

/** Plain bytes of small files on their way into segments. Submit it or drop it. */
export class SmallUpload {
  readonly #batch: UnitBatch;
  readonly #packBytesMax: number;
  /** Memory before this holds packs, memory from {@link #backBytes} on holds units of their own. */
  #frontBytes = 0;
  #backBytes: number;
  #unitCount = 0;
  #pack: OpenPack | undefined;

  private constructor(batch: UnitBatch, packBytesMax: number) {
    this.#batch = batch;
    this.#packBytesMax = packBytesMax;
    this.#backBytes = batch.bytes.byteLength;
  }

  /**
   * Waits for memory. Rejects as `Pipeline.reservePlain` does.
   *
   * @param packBytes the longest pack; 0 for no packs.
   */
  static async reserve(
    units: UnitWriter,
    packBytes: number,
    lengthBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<SmallUpload> {
    return new SmallUpload(await units.reserve(lengthBytes, signal), packBytes);
  }

  /** How many bytes of the reserved memory are left. */
  get freeBytes(): number {
    return this.#backBytes - this.#frontBytes;
  }

  /** True when nothing was added that has to be sealed. */
  get isEmpty(): boolean {
    return this.#frontBytes === 0 && this.#unitCount === 0;
  }

  /**
   * Returns shared memory for the next file, at most {@link freeBytes}. It must hold still from
   * {@link submit} on.
   */
  next(lengthBytes: number): Uint8Array<SharedArrayBuffer> {
    const { bytes } = this.#batch;
    return this.#isPacked(lengthBytes)
      ? bytes.subarray(this.#frontBytes, this.#frontBytes + lengthBytes)
      : bytes.subarray(this.#backBytes - lengthBytes, this.#backBytes);
  }

  /**
   * Adds a file that fills the first `lengthBytes` of `into`: at least 1, at most its unit size.
   *
   * @param into what {@link next} returned just before.
   * @returns what {@link SmallUpload.finish} needs; undefined for a file that is all zeros.
   */
  add(unit: SmallUnit, into: Uint8Array, lengthBytes: number): SmallContent | undefined {
    if (!this.#isPacked(into.byteLength)) {
      this.#backBytes -= into.byteLength;
      const record = { at: this.#unitCount };
      this.#addUnit(unit, this.#backBytes, lengthBytes);
      return { record, startBytes: 0, lengthBytes };
    }
    if (isAllZero(into.subarray(0, lengthBytes))) return undefined;
    return this.#addToPack(unit, lengthBytes);
  }

  /**
   * Has everything sealed and placed; the memory is given back by itself. Call it once. Rejects as
   * `Pipeline.seal` does.
   */
  submit(): Promise<PlacedUnits> {
    this.#closePack();
    return this.#batch.submit();
  }

  /** Gives the memory back without sealing anything. */
  drop(): void {
    this.#batch.drop();
  }

  /** Returns where content lies that was added; undefined for a hole. */
  static find(placed: PlacedUnits, content: SmallContent | undefined): Pointer | undefined {
    if (content === undefined) return undefined;
    const { record, startBytes, lengthBytes } = content;
    const pointer = placed[record.at];
    if (pointer === undefined || record.pack === undefined) return pointer;
    return { ...pointer, slice: { ...record.pack, startBytes, lengthBytes } };
  }

  #isPacked(lengthBytes: number): boolean {
    return lengthBytes <= Math.min(PACKED_FILE_BYTES_MAX, this.#packBytesMax);
  }

  #addToPack(unit: SmallUnit, lengthBytes: number): SmallContent {
    const open = this.#pack;
    const fits =
      open?.first.uid === unit.uid && this.#frontBytes + lengthBytes - open.startBytes <= this.#packBytesMax;
    if (!fits) this.#closePack();
    const startBytes = this.#frontBytes;
    this.#pack ??= { record: { at: -1 }, first: unit, startBytes, endBytes: startBytes, fileCount: 0 };
    const pack = this.#pack;
    this.#frontBytes += lengthBytes;
    pack.endBytes = this.#frontBytes;
    pack.fileCount += 1;
    return { record: pack.record, startBytes: startBytes - pack.startBytes, lengthBytes };
  }

  #closePack(): void {
    const pack = this.#pack;
    this.#pack = undefined;
    if (pack === undefined) return;
    const { record, first, startBytes, endBytes } = pack;
    const packBytes = endBytes - startBytes;
    record.at = this.#unitCount;
    if (pack.fileCount === 1) {
      this.#addUnit(first, startBytes, packBytes);
      return;
    }
    record.pack = { packId: randomId(), packBytes };
    this.#batch.addPack(record.pack.packId, startBytes, packBytes);
    this.#unitCount += 1;
  }

  #addUnit({ id, index = 0, unitSizeBytes }: SmallUnit, offsetBytes: number, lengthBytes: number): void {
    this.#batch.add(id, index, unitSizeBytes, offsetBytes, lengthBytes);
    this.#unitCount += 1;
  }
}

/** Where the records of a {@link SmallUpload} lie, in order; undefined for a unit that is all zeros. */
export type PlacedUnits = readonly (Pointer | undefined)[];
