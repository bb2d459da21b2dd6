/** Reading a dirty zone again: after a crash, and when it becomes a clean one. */
import { crc32 } from 'node:zlib';
import { isDamage, NetsealError } from '../../base/errors.ts';
import { HEADER_BYTES, peekHeader, RECORD_KINDS } from '../../unit/record-format.ts';
import { type CacheFile, readFully } from '../base/files.ts';
import type { Seals } from '../base/seals.ts';
import { GRANULE_BYTES } from '../index/index-table.ts';
import { type BatchHeader, decodeBatchHeader } from './format.ts';

/** How a batch's header begins: magic, version, kind. */
const HEADER_START: Buffer = Buffer.from([0x6e, 0x53, 0x72, 0x63, 1, RECORD_KINDS.journalRecord]);
/** Read at once: the headers of several small batches. */
const WINDOW_BYTES = 64 * 1024;
const SEARCH_BYTES = 1024 * 1024;
/** Twice what a zone may have: whatever a damaged file says of its length, opening goes on soon. */
const SEARCH_BYTES_MAX = 128 * 1024 * 1024;
const NO_PAYLOAD = new Uint8Array(0);

export interface FoundBatch {
  readonly offsetBytes: number;
  readonly headerBytes: number;
  /** Without its payload: those of all batches may be too much for the memory. */
  readonly header: BatchHeader;
}

export interface FoundBatches {
  readonly foundBatches: FoundBatch[];
  /** Where what is no batch begins, ascending. */
  readonly gaps: number[];
}

/**
 * The batches that may have been acknowledged, in the order they were written; all others are none. What of them was perhaps only in
 * the system's memory is on the disk when this resolves: whoever is told of a batch must find it after a power cut, too. System errors
 * as they come.
 *
 * @param note told of damage to what was acknowledged.
 * @returns `batchIdMax`: no header here has a higher id, of no batch either.
 */
export async function findBatches(
  seals: Seals,
  name: Uint8Array,
  file: CacheFile,
  fileBytes: number,
  note: (error: unknown) => void,
): Promise<{ readonly batches: FoundBatch[]; readonly batchIdMax: number }> {
  const { foundBatches, gaps } = await readBatches(seals, name, file, fileBytes);
  const syncedBytes = foundBatches.reduce((most, { header }) => Math.max(most, header.syncedBytes), 0);
  const batchIdMax = foundBatches.reduce((most, { header }) => Math.max(most, header.batchId), 0);
  if (gaps.some(gap => gap < syncedBytes))
    note(new NetsealError('EFORMAT', 'a zone of dirty data is damaged: some of it is lost'));
  // Nothing behind it was acknowledged.
  const torn = gaps.find(gap => gap >= syncedBytes) ?? fileBytes;
  const batches: FoundBatch[] = [];
  let isTailSynced = true;
  for (const found of foundBatches) {
    const { offsetBytes, header } = found;
    if (offsetBytes > torn) break;
    if (header.isEndMark) continue;
    // What was synced before a later one was written is whole; of the rest nobody knows.
    if (offsetBytes >= syncedBytes) {
      if (!(await isWhole(file, offsetBytes, header))) break;
      isTailSynced = false;
    }
    batches.push(found);
  }
  if (!isTailSynced) await file.sync().catch(note);
  return { batches, batchIdMax };
}

/** Reads the headers of batches, and finds where bytes lie that belong to no batch. System errors as they come. */
export async function readBatches(
  seals: Seals,
  name: Uint8Array,
  file: CacheFile,
  fileBytes: number,
): Promise<FoundBatches> {
  const found: FoundBatches = { foundBatches: [], gaps: [] };
  const window = new Window(file, fileBytes);
  for (let offsetBytes = 0; offsetBytes + HEADER_BYTES <= fileBytes; ) {
    const header = await readBatch(seals, name, window, offsetBytes);
    if (header !== undefined) {
      found.foundBatches.push(header);
      offsetBytes += header.header.lengthBytes;
      continue;
    }
    found.gaps.push(offsetBytes);
    const next = await nextHeader(seals, name, window, offsetBytes + GRANULE_BYTES);
    if (next === undefined) break;
    offsetBytes = next;
  }
  return found;
}

/** Undefined where there is none, or one of a batch that the file is too short for. */
async function readBatch(
  seals: Seals,
  name: Uint8Array,
  window: Window,
  offsetBytes: number,
): Promise<FoundBatch | undefined> {
  try {
    const recordHeader = peekHeader(
      window.seen(offsetBytes, HEADER_BYTES) ?? (await window.at(offsetBytes, HEADER_BYTES)),
    );
    const { sealedLengthBytes } = recordHeader;
    if (recordHeader.kind !== RECORD_KINDS.journalRecord) return undefined;
    if (offsetBytes + sealedLengthBytes > window.fileBytes) return undefined;
    const sealed =
      window.seen(offsetBytes, sealedLengthBytes) ?? (await window.at(offsetBytes, sealedLengthBytes));
    const header = decodeBatchHeader(seals, name, offsetBytes, sealed);
    if (header.lengthBytes < sealedLengthBytes || offsetBytes + header.lengthBytes > window.fileBytes)
      return undefined;
    return { offsetBytes, headerBytes: sealedLengthBytes, header: { ...header, payload: NO_PAYLOAD } };
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

/** Where the next header behind a damaged place begins. Only what a crash has left behind, or is damaged, is looked through. */
async function nextHeader(
  seals: Seals,
  name: Uint8Array,
  window: Window,
  fromBytes: number,
): Promise<number | undefined> {
  const { file, fileBytes } = window;
  // From granule to granule, as headers lie: none lies across the end of a piece.
  const endBytes = Math.min(fileBytes, fromBytes + SEARCH_BYTES_MAX);
  for (let pieceAt = fromBytes; pieceAt < endBytes; pieceAt += SEARCH_BYTES) {
    const piece = Buffer.alloc(Math.min(SEARCH_BYTES, fileBytes - pieceAt));
    await readFully(file, piece, pieceAt);
    for (let at = piece.indexOf(HEADER_START); at >= 0; at = piece.indexOf(HEADER_START, at + 1)) {
      if (at % GRANULE_BYTES !== 0 || pieceAt + at + HEADER_BYTES > fileBytes) continue;
      if ((await readBatch(seals, name, window, pieceAt + at)) !== undefined) return pieceAt + at;
    }
  }
  return undefined;
}

/** Whether every unit of a batch is there as it was written. */
export async function isWhole(
  file: CacheFile,
  offsetBytes: number,
  { units }: BatchHeader,
): Promise<boolean> {
  for (const unit of units) {
    const bytes = new Uint8Array(unit.lengthBytes);
    await readFully(file, bytes, offsetBytes + unit.offsetBytes);
    if (crc32(bytes) !== unit.crc32) return false;
  }
  return true;
}

/** A file through a buffer. */
class Window {
  readonly file: CacheFile;
  readonly fileBytes: number;
  #memory = new Uint8Array(WINDOW_BYTES);
  #from = 0;
  #to = 0;

  constructor(file: CacheFile, fileBytes: number) {
    this.file = file;
    this.fileBytes = fileBytes;
  }

  /** The same as {@link at}, if it is there already. */
  seen(offsetBytes: number, lengthBytes: number): Uint8Array | undefined {
    if (offsetBytes < this.#from || offsetBytes + lengthBytes > this.#to) return undefined;
    return this.#memory.subarray(offsetBytes - this.#from, offsetBytes - this.#from + lengthBytes);
  }

  /** A view of the file, good until the next call. All of it is within the file. */
  async at(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    if (this.#memory.byteLength < lengthBytes) this.#memory = new Uint8Array(lengthBytes);
    const count = Math.min(this.#memory.byteLength, this.fileBytes - offsetBytes);
    this.#to = 0;
    await readFully(this.file, this.#memory.subarray(0, count), offsetBytes);
    this.#from = offsetBytes;
    this.#to = offsetBytes + count;
    return this.#memory.subarray(0, lengthBytes);
  }
}
