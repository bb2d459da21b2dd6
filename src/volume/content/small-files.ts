/**
 * Writes and reads many small files at a time. The content of each is one unit or none. On the way in they
 * share a batch of plain memory, on the way out one request. `ContentUpload` and `FileReader` are for one
 * file of any size.
 */

import { KIB } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { OpenedUnit } from '../../pipeline/requests.ts';
import type { FileInode } from '../../server/sealed/inode.ts';
import type { Pointer } from '../../server/sealed/pointer.ts';
import { readUnits, type UnitToRead } from '../../server/sealed/unit-reader.ts';
import type { UnitBatch } from '../../server/sealed/unit-writer.ts';
import type { Session } from '../session/session.ts';

/**
 * Plain bytes of small files on their way into segments. Submit it or drop it.
 *
 *   reserve ──▶ `next` and `add` for each file ──▶ submit ──▶ `finish` for each file
 */
export class SmallUpload {
  readonly #batch: UnitBatch;
  #usedBytes = 0;
  #unitCount = 0;

  private constructor(batch: UnitBatch) {
    this.#batch = batch;
  }

  /** Waits for memory. Rejects as `Pipeline.reservePlain` does. */
  static async reserve(
    { units }: Session,
    lengthBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<SmallUpload> {
    return new SmallUpload(await units.reserve(lengthBytes, signal));
  }

  /** How many bytes of the reserved memory hold files. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Returns shared memory for the next file, which must hold still from {@link submit} on. */
  next(lengthBytes: number): Uint8Array<SharedArrayBuffer> {
    return this.#batch.bytes.subarray(this.#usedBytes, this.#usedBytes + lengthBytes);
  }

  /**
   * Adds a file that fills the first `lengthBytes` of what {@link next} returned: at least 1, at most its
   * unit size. Returns the number of its unit, for {@link finish}.
   */
  add({ id, unitSizeBytes }: FileInode, lengthBytes: number): number {
    this.#batch.add(id, 0, unitSizeBytes, this.#usedBytes, lengthBytes);
    this.#usedBytes += lengthBytes;
    this.#unitCount += 1;
    return this.#unitCount - 1;
  }

  /**
   * Has the units sealed and placed; the memory is given back by itself. Call it once. Rejects as
   * `Pipeline.seal` does.
   */
  submit(): Promise<PlacedUnits> {
    return this.#batch.submit();
  }

  /** Gives the memory back without sealing anything. */
  drop(): void {
    this.#batch.drop();
  }

  /** Returns a new file with the content that was added under a number; undefined for no content. */
  static finish(inode: FileInode, placed: PlacedUnits, unit: number | undefined): FileInode {
    const pointer = unit === undefined ? undefined : placed[unit];
    if (pointer === undefined) return inode;
    const map = { depth: 0, slots: [{ slot: 0, pointer }] };
    return { ...inode, dataVersion: 1, storedBytes: pointer.lengthBytes, map };
  }
}

/** Where the units of a {@link SmallUpload} lie, in order; undefined for one that is all zeros. */
export type PlacedUnits = readonly (Pointer | undefined)[];

/** Returns the segments that the content of a small file lies in: they must be durable before its commit. */
export function segmentsOfSmall({ map }: FileInode): Id[] {
  return map.slots.map(({ pointer }) => pointer.segment);
}

/** How many unneeded bytes before a record may be fetched along with it, see `planFetches`. */
const GAP_BYTES_MAX: number = 64 * KIB;

/** The contents of small files, in the order of the files, and the shared memory that holds them. */
export interface SmallContents {
  /** Undefined where a file is empty or a hole. A unit may be shorter than its file: the rest is zeros. */
  readonly units: readonly (OpenedUnit | undefined)[];
  /** The units' bytes must not be used afterwards. */
  release(): void;
}

/**
 * Reads the content of small files. Their sealed bytes (see {@link fetchedBytesMax}) must fit in a quarter of
 * the pipeline's memory, and so must their plain bytes: else EINVAL. Acquire the plain bytes from the read
 * budget first.
 *
 * A unit that cannot be read is reported in its place, as `readUnits` does. Rejects with the signal's reason,
 * ECLOSED, EWORKER.
 */
export async function readSmallFiles(
  { sealing }: Session,
  files: readonly FileInode[],
  signal?: AbortSignal,
): Promise<SmallContents> {
  const requests = files.map(unitOf);
  const wanted = requests.filter(request => request !== undefined);
  const { units, release } = await readUnits(sealing, wanted, signal);
  let next = 0;
  return { units: requests.map(request => (request === undefined ? undefined : units[next++])), release };
}

/** The most sealed bytes that reading a small file takes, with the gap before its record. */
export function fetchedBytesMax({ map }: FileInode): number {
  const lengthBytes = map.slots[0]?.pointer.lengthBytes ?? 0;
  return lengthBytes + Math.min(GAP_BYTES_MAX, 2 * lengthBytes);
}

function unitOf({ id, unitSizeBytes, sizeBytes, map }: FileInode): UnitToRead | undefined {
  const [slot] = map.slots;
  if (slot === undefined || sizeBytes === 0) return undefined;
  return { objectId: id, index: 0, unitSizeBytes, pointer: slot.pointer, plainBytesMax: sizeBytes };
}
