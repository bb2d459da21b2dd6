/** Cuts samples into units and units into batches, which an engine seals together. Pure. */
import { MIB } from '../base/geometry.ts';
import { sealedBytesMax } from '../unit/seal.ts';
import type { Piece } from './sample-files.ts';
import { spreadIndices } from './sampling.ts';
import type { BenchSetting } from './settings.ts';

/** One unit of a sample. The last unit of a file may be short. */
export interface PlainUnit {
  /** The unit's index in its file. */
  readonly index: number;
  /** The plain bytes, a view of the sample. Do not change them. */
  readonly plain: Uint8Array;
}

/** Units that are sealed in one call. */
export interface Batch {
  readonly units: readonly PlainUnit[];
  readonly plainBytes: number;
}

/** The room for the records of a batch. It is larger when two units for each thread need more. */
const BATCH_BYTES: number = 8 * MIB;
/** The most room for a batch, however many threads there are. */
const BATCH_BYTES_MAX: number = 512 * MIB;
const BATCH_UNITS_MAX = 2048;
const UNITS_PER_THREAD_MIN = 2;
/** The room that rounding may add to each unit. */
const SLACK_BYTES = 64;

/** Cuts the pieces of a sample into units. */
export function cutIntoUnits(pieces: readonly Piece[], unitSizeBytes: number): PlainUnit[] {
  const units: PlainUnit[] = [];
  for (const { offsetBytes, bytes } of pieces) {
    const firstIndex = offsetBytes / unitSizeBytes;
    for (let start = 0; start < bytes.byteLength; start += unitSizeBytes) {
      const plain = bytes.subarray(start, start + unitSizeBytes);
      units.push({ index: firstIndex + start / unitSizeBytes, plain });
    }
  }
  return units;
}

/**
 * Returns the memory in bytes that the largest batch of these settings takes. Its plain bytes need that much,
 * and its records need that much again.
 */
export function batchBytesMax(settings: readonly BenchSetting[], threadCount: number): number {
  return Math.max(...settings.map(setting => roomOfBatch(setting, threadCount)));
}

function roomOfBatch(setting: BenchSetting, threadCount: number): number {
  const forThreads =
    UNITS_PER_THREAD_MIN * Math.max(1, threadCount) * roomOfUnit(setting.unitSizeBytes, setting);
  return Math.max(BATCH_BYTES, Math.min(BATCH_BYTES_MAX, forThreads));
}

function roomOfUnit(plainBytes: number, setting: BenchSetting): number {
  return sealedBytesMax(plainBytes, setting.padding) + SLACK_BYTES;
}

/** Splits units, in order, into batches that fit in {@link batchBytesMax} of this setting. */
export function cutIntoBatches(
  units: readonly PlainUnit[],
  setting: BenchSetting,
  threadCount: number,
): Batch[] {
  const maxBytes = roomOfBatch(setting, threadCount);
  const batches: Batch[] = [];
  let current: PlainUnit[] = [];
  let roomBytes = 0;
  const finish = (): void => {
    if (current.length > 0) batches.push(batchOf(current));
    current = [];
    roomBytes = 0;
  };
  for (const unit of units) {
    const unitRoomBytes = roomOfUnit(unit.plain.byteLength, setting);
    if (roomBytes + unitRoomBytes > maxBytes || current.length === BATCH_UNITS_MAX) finish();
    current.push(unit);
    roomBytes += unitRoomBytes;
  }
  finish();
  return batches;
}

/** Returns these units as one batch. */
export function batchOf(units: readonly PlainUnit[]): Batch {
  return { units, plainBytes: units.reduce((sum, unit) => sum + unit.plain.byteLength, 0) };
}

/**
 * Returns the units of one timed round: about `targetBytes` of plain bytes, and at least two units for each
 * thread. They are spread evenly over the sample. A sample that is too small gives its units more than once.
 */
export function unitsForRound(
  units: readonly PlainUnit[],
  targetBytes: number,
  threadCount: number,
): PlainUnit[] {
  const unitBytes = Math.max(1, batchOf(units).plainBytes / Math.max(1, units.length));
  const count = Math.max(
    UNITS_PER_THREAD_MIN * Math.max(1, threadCount),
    Math.round(targetBytes / unitBytes),
  );
  return spreadIndices(units.length, count).flatMap(index => units[index] ?? []);
}
