/**
 * Writes dirty batches to the places that were laid out for them: header, then units, in writes of up to
 * `WRITE_BYTES_MAX`. The checksums of large batches are made while the system writes.
 */
import { crc32 } from 'node:zlib';
import { roundUp } from '../../base/geometry.ts';
import { recordTag } from '../../unit/record-format.ts';
import { type CacheFile, WRITE_BYTES_MAX, writeFully } from '../base/files.ts';
import type { Seals } from '../base/seals.ts';
import { GRANULE_BYTES } from '../index/index-table.ts';
import type { ObjectState } from '../objects/objects.ts';
import type { Zone } from '../zones/zones.ts';
import { type DirtyUnitPlace, encodeBatchHeader } from './format.ts';

export interface DirtyUnit {
  readonly object: ObjectState;
  readonly index: number;
  /** The sealed record. It must not change until the batch is on the disk. */
  readonly bytes: Uint8Array;
}

/** A batch as it is written, with its place. */
export interface WrittenBatch {
  readonly id: number;
  readonly appendedMs: number;
  readonly zone: Zone;
  readonly offsetBytes: number;
  readonly headerBytes: number;
  readonly units: readonly (DirtyUnit & { /** Within the batch. */ readonly offsetBytes: number })[];
}

/** A batch that has no place yet. */
export interface BatchToWrite {
  readonly units: readonly DirtyUnit[];
  readonly payload: Uint8Array;
  /** The length of the batch with its header. */
  readonly lengthBytes: number;
}

/** A batch as it came, and as it is written. */
export interface PlannedBatch {
  readonly waiting: BatchToWrite;
  readonly batch: WrittenBatch;
}

/** Batches up to this length are written together. A larger one is written alone, its header last. */
const AT_ONCE_BYTES_MAX = 256 * 1024;
const ZEROS = new Uint8Array(GRANULE_BYTES);

/** Writes batches that follow one another in a file. System errors as they come. */
export async function writeBatches(
  seals: Seals,
  file: CacheFile,
  group: readonly PlannedBatch[],
): Promise<void> {
  let parts: Uint8Array[] = [];
  let startBytes = 0;
  const flush = async (): Promise<void> => {
    for (const { part, offsetBytes } of portions(parts, startBytes))
      await writeFully(file, part, offsetBytes);
    parts = [];
  };
  for (const { waiting, batch } of group) {
    if (waiting.lengthBytes > AT_ONCE_BYTES_MAX) {
      await flush();
      await writeLarge(seals, file, waiting, batch);
      continue;
    }
    if (parts.length === 0) startBytes = batch.offsetBytes;
    const sums = batch.units.map(({ bytes }) => crc32(bytes));
    parts.push(headerOf(seals, waiting, batch, sums), ...paddedUnits(batch));
    if (batch.offsetBytes + waiting.lengthBytes - startBytes >= WRITE_BYTES_MAX) await flush();
  }
  await flush();
}

/** Writes units while making their checksums, then the header, which has the checksums in it. */
async function writeLarge(
  seals: Seals,
  file: CacheFile,
  waiting: BatchToWrite,
  batch: WrittenBatch,
): Promise<void> {
  const { units, headerBytes } = batch;
  const sums: number[] = [];
  for (const { part, offsetBytes, endBytes } of portions(
    paddedUnits(batch),
    batch.offsetBytes + headerBytes,
  )) {
    const writing = writeFully(file, part, offsetBytes);
    for (let unit = units[sums.length]; unit !== undefined; unit = units[sums.length]) {
      if (batch.offsetBytes + unit.offsetBytes >= endBytes) break;
      sums.push(crc32(unit.bytes));
    }
    await writing;
  }
  await writeFully(file, [headerOf(seals, waiting, batch, sums)], batch.offsetBytes);
}

function headerOf(
  seals: Seals,
  waiting: BatchToWrite,
  batch: WrittenBatch,
  sums: readonly number[],
): Uint8Array {
  const { zone, offsetBytes, id, appendedMs } = batch;
  const units = batch.units.map(
    ({ object, index, bytes, offsetBytes: unitAt }, position): DirtyUnitPlace => ({
      volumeId: object.volume.id,
      objectId: object.id,
      index,
      tag: recordTag(bytes),
      offsetBytes: unitAt,
      lengthBytes: bytes.byteLength,
      crc32: sums[position] ?? 0,
    }),
  );
  return encodeBatchHeader(seals, zone.name, offsetBytes, {
    batchId: id,
    appendedMs,
    isEndMark: false,
    units,
    payload: waiting.payload,
    lengthBytes: waiting.lengthBytes,
    syncedBytes: zone.endBytes,
  });
}

function paddedUnits({ units }: WrittenBatch): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (const { bytes } of units) {
    const rest = roundUp(bytes.byteLength, GRANULE_BYTES) - bytes.byteLength;
    parts.push(bytes);
    if (rest > 0) parts.push(ZEROS.subarray(0, rest));
  }
  return parts;
}

/**
 * Cuts bytes that are to lie one after another from `startBytes` on into writes of {@link WRITE_BYTES_MAX}.
 */
function* portions(
  parts: readonly Uint8Array[],
  startBytes: number,
): Generator<{ readonly part: Uint8Array[]; readonly offsetBytes: number; readonly endBytes: number }> {
  let part: Uint8Array[] = [];
  let offsetBytes = startBytes;
  let endBytes = startBytes;
  for (const bytes of parts) {
    for (let from = 0; from < bytes.byteLength; ) {
      const piece = bytes.subarray(from, from + WRITE_BYTES_MAX - (endBytes - offsetBytes));
      part.push(piece);
      from += piece.byteLength;
      endBytes += piece.byteLength;
      if (endBytes - offsetBytes < WRITE_BYTES_MAX) continue;
      yield { part, offsetBytes, endBytes };
      part = [];
      offsetBytes = endBytes;
    }
  }
  if (part.length > 0) yield { part, offsetBytes, endBytes };
}
