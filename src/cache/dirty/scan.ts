/**
 * Finds the batches in a dirty zone: when a cache is opened, and when the zone becomes a clean one.
 *
 *   ┌─────────┬─────────┬──gap──┬─────────┬─────────┬─────────┬──gap──┬ ─ ─ ─ ─ ┐
 *   │ batch   │ batch   │ damage│ batch   │ batch   │ batch   │ torn  │ ignored
 *   └─────────┴─────────┴───────┴─────────┴─────────┴─────────┴───────┴ ─ ─ ─ ─ ┘
 *   ◀── synced, as a later batch header says ──────▶◀─ maybe whole ──▶
 *
 * - Batch headers are read one after another. At bytes that are no batch header, a *gap*, the next one is
 *   searched for.
 * - Batches before the synced end are whole. A gap there is damage, and is reported.
 * - Batches behind it are taken if they are whole: they may have been acknowledged.
 * - A gap behind it is where a crash has torn the zone. Nothing after it was acknowledged.
 */
import { crc32 } from 'node:zlib';
import { isDamage, NetsealError } from '../../base/errors.ts';
import { HEADER_BYTES, peekHeader, RECORD_KINDS } from '../../unit/record-format.ts';
import { type CacheFile, readFully } from '../base/files.ts';
import type { Seals } from '../base/seals.ts';
import { GRANULE_BYTES } from '../index/index-table.ts';
import { type BatchHeader, decodeBatchHeader } from './format.ts';

/** How a batch header begins: magic, version, kind. */
const HEADER_START: Buffer = Buffer.from([0x6e, 0x53, 0x72, 0x63, 1, RECORD_KINDS.journalRecord]);
/** How much is read at once: the headers of several small batches. */
const WINDOW_BYTES = 64 * 1024;
const SEARCH_BYTES = 1024 * 1024;
/** A search for the next batch header ends here, so that a damaged file cannot keep a cache from opening. */
const SEARCH_BYTES_MAX = 128 * 1024 * 1024;
const NO_PAYLOAD = new Uint8Array(0);

/** A batch header that was read, and where it lies. An end mark counts as well. */
export interface FoundBatch {
  readonly offsetBytes: number;
  readonly headerBytes: number;
  /** The header without its payload: the payloads of all batches may take too much memory. */
  readonly header: BatchHeader;
}

export interface FoundBatches {
  readonly foundBatches: FoundBatch[];
  /** Where bytes begin that are no batch, ascending. */
  readonly gaps: number[];
}

/**
 * Returns the batches that may have been acknowledged, in the order in which they were written. Syncs the
 * file if some may be only in the system's memory: callers rely on what is listed, also after a power cut.
 * System errors as they come.
 *
 * @param note called when batches that were acknowledged are damaged, and when the sync fails.
 * @returns `batchIdMax` is the highest id in any batch header, also of batches that are left out.
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
  // Nothing behind the first gap after the synced end was acknowledged.
  const torn = gaps.find(gap => gap >= syncedBytes) ?? fileBytes;
  const batches: FoundBatch[] = [];
  let isTailSynced = true;
  for (const found of foundBatches) {
    const { offsetBytes, header } = found;
    if (offsetBytes > torn) break;
    if (header.isEndMark) continue;
    // Before the synced end, batches are whole. Behind it, that has to be found out by reading their units.
    if (offsetBytes >= syncedBytes) {
      if (!(await isWhole(file, offsetBytes, header))) break;
      isTailSynced = false;
    }
    batches.push(found);
  }
  if (!isTailSynced) await file.sync().catch(note);
  return { batches, batchIdMax };
}

/** Reads all batch headers of a zone, and notes the gaps between batches. System errors as they come. */
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

/**
 * Reads a batch header. Undefined when there is none at this offset, or the batch goes on past the end of the
 * file.
 */
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

/** Returns where the next batch header behind a gap begins. */
async function nextHeader(
  seals: Seals,
  name: Uint8Array,
  window: Window,
  fromBytes: number,
): Promise<number | undefined> {
  const { file, fileBytes } = window;
  // Batch headers begin at granules, and so do pieces: no header's beginning lies across the end of a piece.
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

/** True when every unit of a batch is as it was written. System errors as they come. */
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

/** Reads a file through a buffer, so that neighbouring headers cost one read. */
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

  /** Returns what {@link at} does if the buffer has it, otherwise undefined. Spares the `await`. */
  seen(offsetBytes: number, lengthBytes: number): Uint8Array | undefined {
    if (offsetBytes < this.#from || offsetBytes + lengthBytes > this.#to) return undefined;
    return this.#memory.subarray(offsetBytes - this.#from, offsetBytes - this.#from + lengthBytes);
  }

  /** Returns bytes of the file, which the next call overwrites. They must all lie within the file. */
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
