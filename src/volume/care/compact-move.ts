/**
 * Moves live records out of the segments that a compaction empties, and returns the new place of each unit.
 *
 *   a record of its own          copied as it is, unopened
 *   a pack, half of it live      copied as it is, once for all files in it
 *   a pack, less of it live      opened; the live slices go into new packs
 *
 * While the volume has keys of several epochs, nothing is copied unopened: all records of a segment are
 * sealed under one epoch, the one that was the newest for whoever wrote it.
 *
 * A record that cannot be read, or whose tag is not the pointer's, stays where it is.
 */
import { MIB, unitSizeToLog2 } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { OpenedUnit } from '../../pipeline/requests.ts';
import { fetchAll, planFetches } from '../../server/sealed/fetch.ts';
import { OpenedPacks } from '../../server/sealed/opened-packs.ts';
import {
  isSlicePointer,
  type Pointer,
  recordKey,
  type SlicePointer,
  storedBytesOf,
} from '../../server/sealed/pointer.ts';
import type { RecordToPlace } from '../../server/sealed/segment-writer.ts';
import type { MappedUnit } from '../../server/sealed/unit-map.ts';
import { ReadCost, readUnits, type UnitToRead } from '../../server/sealed/unit-reader.ts';
import { UnitWriter } from '../../server/sealed/unit-writer.ts';
import { recordTag } from '../../unit/record-format.ts';
import { type SmallContent, SmallUpload } from '../content/small-upload.ts';
import type { Session } from '../session/session.ts';
import { type Cut, isHalfLive } from './gc-cut.ts';

/** The units of one file that have to move. */
export interface FileMoves {
  readonly id: Id;
  readonly uid: number;
  readonly unitSizeBytes: number;
  /**
   * Units in chosen segments; and one unit below each map page in a chosen segment, so that the page is
   * sealed anew.
   */
  readonly units: MappedUnit[];
}

/**
 * Where a unit lay, and where it lies now; undefined if it turned out to be all zeros. Both are the same
 * place for a unit that is listed only so that its map page is sealed anew.
 */
export interface Moved {
  readonly from: Pointer;
  readonly to: Pointer | undefined;
}

/** By unit index. */
export type MovesOf = ReadonlyMap<number, Moved>;

/** How many sealed bytes are fetched, then placed, at once. */
const COPY_BYTES: number = 4 * MIB;
/** How many plain bytes of units are sealed anew at once; at least one unit. */
const RESEAL_BYTES: number = 4 * MIB;
/** How many plain bytes of slices go into new packs at once. */
const REPACK_BYTES: number = MIB;
/** The most plain bytes of the packs that these slices come from; at least one pack. */
const OPENED_BYTES_MAX: number = 8 * MIB;

/** A unit on its way. */
interface Moving {
  readonly file: FileMoves;
  readonly index: number;
  readonly pointer: Pointer;
}

/** A record, and where it lies now; undefined if it is all zeros. */
type Placed = readonly [Moving, Pointer | undefined];

interface MovingSlice extends Moving {
  readonly pointer: SlicePointer;
}

export class RecordMover {
  readonly #session: Session;
  readonly #chosen: ReadonlySet<Id>;
  readonly #packs: Cut['packs'];
  readonly #signal: AbortSignal | undefined;
  readonly #units: UnitWriter;
  readonly #opened = new OpenedPacks();
  /** Where packs lie that were moved whole, by `recordKey`. Files of later calls may have slices of them. */
  readonly #movedPacks = new Map<string, Pointer>();
  #moved = new Map<FileMoves, Map<number, Moved>>();
  /** Bytes of the records that were moved. Of an opened pack, its live share counts. */
  movedBytes = 0;

  constructor(
    session: Session,
    { chosen, packs }: { readonly chosen: ReadonlySet<Id>; readonly packs: Cut['packs'] },
    signal: AbortSignal | undefined,
  ) {
    this.#session = session;
    this.#chosen = chosen;
    this.#packs = packs;
    this.#signal = signal;
    this.#units = new UnitWriter(session.sealing, session.nodeSegments);
  }

  /** Moves the units of some files. Returns, for each file, those that were moved. Errors: the store's. */
  async move(files: readonly FileMoves[]): Promise<ReadonlyMap<FileMoves, MovesOf>> {
    const moved = new Map(files.map(file => [file, new Map<number, Moved>()]));
    this.#moved = moved;
    const { control } = this.#session.sealing;
    const reseals = control.oldestEpoch < control.newestEpoch;
    const whole: Moving[] = [];
    const slices: MovingSlice[] = [];
    for (const file of files) {
      for (const { index, pointer } of file.units) {
        if (!this.#chosen.has(pointer.segment)) this.#note({ file, index, pointer }, pointer);
        else if (!isSlicePointer(pointer) || (!reseals && this.#isWorthWhole(pointer)))
          whole.push({ file, index, pointer });
        else slices.push({ file, index, pointer });
      }
    }
    await this.#moveWhole(whole, reseals);
    await this.#repackAll(slices);
    return moved;
  }

  #note({ file, index, pointer }: Moving, to: Pointer | undefined): void {
    this.#moved.get(file)?.set(index, { from: pointer, to });
  }

  #isWorthWhole(pointer: SlicePointer): boolean {
    // A pack that the cut has not seen is newer than the cut: it is not known how much of it is live.
    return isHalfLive(this.#packs.get(recordKey(pointer)) ?? { sliceBytes: 1, packBytes: 1 });
  }

  /** Moves records, each once, whatever number of units lie in it. */
  async #moveWhole(units: readonly Moving[], reseals: boolean): Promise<void> {
    const records = new Map<string, Moving>();
    for (const unit of units) {
      const key = recordKey(unit.pointer);
      if (!this.#movedPacks.has(key) && !records.has(key)) records.set(key, unit);
    }
    const placed = new Map<string, Pointer | undefined>();
    for (const [{ pointer }, to] of await this.#place([...records.values()], reseals)) {
      if (to !== undefined && isSlicePointer(pointer)) this.#movedPacks.set(recordKey(pointer), to);
      else placed.set(recordKey(pointer), to);
      this.movedBytes += pointer.lengthBytes;
    }
    for (const unit of units) {
      const key = recordKey(unit.pointer);
      const to = placed.get(key) ?? this.#movedPacks.get(key);
      const { slice, origin } = unit.pointer;
      if (to !== undefined) this.#note(unit, slice === undefined ? { ...to, origin } : { ...to, slice });
      // A unit that turned out to be all zeros becomes a hole.
      else if (placed.has(key)) this.#note(unit, undefined);
    }
  }

  async #place(records: readonly Moving[], reseals: boolean): Promise<Placed[]> {
    const placed: Placed[] = [];
    const bytesMax = Math.min(RESEAL_BYTES, this.#session.sealing.pipeline.slabBytes / 8);
    const batches = reseals
      ? portions(records, ({ file }) => file.unitSizeBytes, bytesMax)
      : portions(records, ({ pointer }) => pointer.lengthBytes, COPY_BYTES);
    for (const batch of batches) {
      placed.push(...(await (reseals ? this.#reseal(batch) : this.#copy(batch))));
    }
    return placed;
  }

  /** Opens units and seals them anew, each for the place that it was sealed for. */
  async #reseal(batch: readonly Moving[]): Promise<Placed[]> {
    const { sealing } = this.#session;
    const { units, release } = await readUnits(sealing, batch.map(wholeToRead), this.#signal);
    // Copied, so that no shared memory is held while more of it is waited for.
    const opened = batch.flatMap((unit, at) => {
      const { bytes } = { bytes: undefined, ...units[at] };
      return bytes === undefined ? [] : [{ unit, bytes: new Uint8Array(bytes) }];
    });
    release();
    const totalBytes = opened.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    if (totalBytes === 0) return [];
    const upload = await this.#units.reserve(totalBytes, this.#signal);
    let offsetBytes = 0;
    for (const { unit, bytes } of opened) {
      const { objectId, index } = placeOf(unit);
      upload.bytes.set(bytes, offsetBytes);
      upload.add(objectId, index, unit.file.unitSizeBytes, offsetBytes, bytes.byteLength);
      offsetBytes += bytes.byteLength;
    }
    const pointers = await upload.submit();
    return opened.map(({ unit }, at) => [unit, pointers[at]]);
  }

  async #copy(batch: readonly Moving[]): Promise<Placed[]> {
    const { sealing, nodeSegments } = this.#session;
    const plan = planFetches(batch.map(({ pointer }) => pointer));
    const bytes = new Uint8Array(plan.totalBytes);
    const errors = await fetchAll(sealing.store, plan, bytes, this.#signal);
    const records = batch.flatMap((unit, at) => {
      const { lengthBytes, tag } = unit.pointer;
      const offset = plan.offsets[at] ?? 0;
      const record = bytes.subarray(offset, offset + lengthBytes);
      const isIt = !errors.has(at) && Buffer.compare(recordTag(record), tag) === 0;
      return isIt ? [{ unit, record: toPlace(unit, record) }] : [];
    });
    const pointers = await nodeSegments.place(records.map(({ record }) => record));
    return records.flatMap(({ unit }, at) => {
      const to = pointers[at];
      return to === undefined ? [] : [[unit, to] as const];
    });
  }

  /** Puts slices into new packs. */
  async #repackAll(slices: readonly MovingSlice[]): Promise<void> {
    const { sealing } = this.#session;
    const bytesMax = Math.min(REPACK_BYTES, sealing.pipeline.slabBytes / 4);
    // Each pack holds files of one owner only.
    const ordered = slices.toSorted((left, right) => left.file.uid - right.file.uid);
    for (const group of sliceGroups(ordered, bytesMax)) {
      const requests = group.map(unitToRead);
      const { units, release } = await readUnits({ ...sealing, packs: this.#opened }, requests, this.#signal);
      try {
        await this.#repack(group, units);
      } finally {
        release();
      }
    }
  }

  async #repack(group: readonly MovingSlice[], opened: readonly OpenedUnit[]): Promise<void> {
    const { packBytes } = this.#session.settings;
    const totalBytes = group.reduce((sum, { pointer }) => sum + pointer.slice.lengthBytes, 0);
    const upload = await SmallUpload.reserve(this.#units, packBytes, totalBytes, this.#signal);
    const added: (readonly [MovingSlice, SmallContent | undefined])[] = [];
    for (const [at, unit] of group.entries()) {
      const { bytes } = { bytes: undefined, ...opened[at] };
      if (bytes === undefined) continue;
      const into = upload.next(bytes.byteLength);
      into.set(bytes);
      added.push([unit, upload.add({ ...unit.file, index: unit.index }, into, bytes.byteLength)]);
    }
    if (upload.isEmpty) upload.drop();
    const placed = upload.isEmpty ? [] : await upload.submit();
    for (const [unit, content] of added) {
      this.#note(unit, SmallUpload.find(placed, content));
      this.movedBytes += storedBytesOf(unit.pointer);
    }
  }
}

function toPlace(unit: Moving, bytes: Uint8Array): RecordToPlace {
  const { slice, tag } = unit.pointer;
  if (slice !== undefined) {
    return { kind: 'pack', objectId: slice.packId, index: 0, unitSizeLog2: 0, bytes, tag };
  }
  const unitSizeLog2 = unitSizeToLog2(unit.file.unitSizeBytes);
  return { kind: 'unit', ...placeOf(unit), unitSizeLog2, bytes, tag };
}

/** Returns the place that a unit's record was sealed for. */
function placeOf({ file, index, pointer }: Moving): { readonly objectId: Id; readonly index: number } {
  return pointer.origin ?? { objectId: file.id, index };
}

function wholeToRead({ file, index, pointer }: Moving): UnitToRead {
  const { id: objectId, unitSizeBytes } = file;
  return { objectId, index, unitSizeBytes, pointer, plainBytesMax: unitSizeBytes };
}

function unitToRead({ file, index, pointer }: MovingSlice): UnitToRead {
  const { id: objectId, unitSizeBytes } = file;
  return { objectId, index, unitSizeBytes, pointer, plainBytesMax: pointer.slice.lengthBytes };
}

/** Cuts units into parts of at most `bytesMax`, or of one longer record. */
function* portions(
  units: readonly Moving[],
  bytesOf: (unit: Moving) => number,
  bytesMax: number,
): Generator<readonly Moving[]> {
  let part: Moving[] = [];
  let bytes = 0;
  for (const unit of units) {
    const lengthBytes = bytesOf(unit);
    if (part.length > 0 && bytes + lengthBytes > bytesMax) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(unit);
    bytes += lengthBytes;
  }
  if (part.length > 0) yield part;
}

/** Cuts slices into parts of at most `bytesMax`, whose packs are not too much to hold opened. */
function* sliceGroups(slices: readonly MovingSlice[], bytesMax: number): Generator<readonly MovingSlice[]> {
  let part: MovingSlice[] = [];
  let bytes = 0;
  let cost = new ReadCost();
  for (const slice of slices) {
    const { lengthBytes } = slice.pointer.slice;
    const isFull =
      bytes + lengthBytes > bytesMax || cost.with(unitToRead(slice)).plainBytes > OPENED_BYTES_MAX;
    if (part.length > 0 && isFull) {
      yield part;
      part = [];
      bytes = 0;
      cost = new ReadCost();
    }
    part.push(slice);
    bytes += lengthBytes;
    cost.add(unitToRead(slice));
  }
  if (part.length > 0) yield part;
}
