/**
 * Fills segments with sealed records and uploads them. Any number of callers place records. Each record gets
 * its pointer at once, before its segment is uploaded, so that a map page or leaf that holds the pointer can
 * go into the same segment.
 *
 *   open ──no room left, or flush()──▶ uploading ──▶ durable
 *                                          └───────▶ failed (its records are lost)
 *
 * Invariants
 *   1. Records are placed in the order of calls.
 *   2. A pointer may be committed only after `durable(pointer.segment)` has resolved.
 *   3. Memory: at most `uploadsMax` + 1 segments. A caller that places more waits until an upload ends.
 *   4. A segment's id is random and used once; its object never changes.
 *   5. A segment that failed is remembered as long as the writer lives: its records must never be committed.
 */
import { abortable } from '../../base/abortable.ts';
import { copyBytes } from '../../base/bytes.ts';
import { codeOf, NetsealError } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { RecordKind } from '../../unit/record-format.ts';
import { segmentKey } from './object-keys.ts';
import type { Pointer } from './pointer.ts';
import type { Sealing } from './sealing.ts';
import { encodeFooter, encodeTrailer, type SegmentEntry } from './segment-format.ts';

export interface SegmentSettings {
  /**
   * A segment that would grow beyond this is closed first. A larger record gets a segment of its own. Default
   * 8 MiB; for a volume a quarter of a slab of its pipeline, if that is less.
   */
  readonly segmentBytes?: number;
  /** Uploads that run at once. Default 3. */
  readonly uploadsMax?: number;
  /** How many segments' upload times the writer remembers; see {@link SegmentWriter.ageMs}. Default 8192. */
  readonly uploadTimesMax?: number;
  /** Returns the time in ms since 1970. Default: the system's clock. */
  readonly nowMs?: () => number;
}

/** A record to place. */
export interface RecordToPlace {
  readonly kind: RecordKind;
  readonly objectId: Id;
  readonly index: number;
  readonly unitSizeLog2: number;
  /** The sealed record. It is copied. */
  readonly bytes: Uint8Array;
  /** 16 bytes, which belong to the writer from then on. */
  readonly tag: Uint8Array;
}

/** Large enough for few requests. Not larger, because each upload under way holds so much memory. */
export const SEGMENT_BYTES_DEFAULT: number = 8 * MIB;
const UPLOADS_MAX_DEFAULT = 3;
/** The memory of a segment grows by chunks, so that a small segment takes little. */
const CHUNK_BYTES: number = MIB;
/** Footers grow with the number of records. */
const RECORDS_PER_SEGMENT_MAX = 65_536;
/** The upload times of 64 GiB, in about a megabyte. */
const UPLOAD_TIMES_MAX_DEFAULT = 8192;

interface OpenSegment {
  readonly id: Id;
  readonly chunks: Uint8Array[];
  readonly entries: SegmentEntry[];
  lengthBytes: number;
}

interface Upload {
  readonly durable: Promise<void>;
  /** Never rejects. */
  readonly settled: Promise<void>;
}

export class SegmentWriter {
  readonly #sealing: Sealing;
  readonly #segmentBytes: number;
  readonly #uploadsMax: number;
  readonly #uploadTimesMax: number;
  readonly #nowMs: () => number;
  readonly #freeChunks: Uint8Array[] = [];
  /**
   * Closed segments whose upload is under way or has failed. All other segments of this writer are open or
   * stored.
   */
  readonly #unstored = new Map<Id, Promise<void>>();
  /** When the uploads of the latest segments began; the oldest first. */
  readonly #uploadedAtMs = new Map<Id, number>();
  readonly #uploading = new Set<Upload>();
  /** Closed segments whose upload is under way: their records are still in memory. */
  readonly #held = new Map<Id, OpenSegment>();
  readonly #closeWaiters = new Map<Id, PromiseWithResolvers<void>>();
  #open: OpenSegment | undefined;
  /** Resolves when all calls of {@link place} so far have ended: they take turns. */
  #turn: Promise<void> = Promise.resolve();
  /** Calls of {@link place} that have not ended. */
  #placingCount = 0;
  #sentBytes = 0;

  constructor(sealing: Sealing, settings: SegmentSettings = {}) {
    this.#sealing = sealing;
    this.#segmentBytes = settings.segmentBytes ?? SEGMENT_BYTES_DEFAULT;
    this.#uploadsMax = settings.uploadsMax ?? UPLOADS_MAX_DEFAULT;
    this.#uploadTimesMax = settings.uploadTimesMax ?? UPLOAD_TIMES_MAX_DEFAULT;
    this.#nowMs = settings.nowMs ?? Date.now;
  }

  /** Bytes of the segments that are stored. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /**
   * Copies records into the open segment. Resolves with their pointers, in order. Waits while too many
   * uploads run. Rejects with the signal's reason only; then none of the records may be committed.
   */
  async place(records: readonly RecordToPlace[], signal?: AbortSignal): Promise<Pointer[]> {
    const before = this.#turn;
    const { promise: turn, resolve: endTurn } = Promise.withResolvers<void>();
    this.#turn = turn;
    this.#placingCount += 1;
    try {
      await abortable(before, signal);
      const pointers: Pointer[] = [];
      for (const record of records) {
        if (this.#mustClose(record)) this.#close();
        while (this.#open === undefined && this.#uploading.size >= this.#uploadsMax) {
          // `settled` never rejects: only callers that need the failed segment hear of its failure, from
          // `durable`.
          await abortable(Promise.race([...this.#uploading].map(({ settled }) => settled)), signal);
        }
        pointers.push(this.#append(record));
      }
      return pointers;
    } finally {
      this.#placingCount -= 1;
      // One that was aborted before its turn must not let others in too early.
      void before.then(endTurn);
    }
  }

  /**
   * Resolves when the segment is in the store. Rejects with the error of its upload. A segment that is still
   * open is not closed by this: it waits until another call closes it.
   */
  async durable(segment: Id): Promise<void> {
    if (this.#open?.id === segment) await this.#whenClosed(segment);
    await this.#unstored.get(segment);
  }

  /**
   * Closes the open segment. Resolves when everything placed so far is in the store; rejects if any of it
   * failed.
   */
  async flush(): Promise<void> {
    // Calls of `place` that came before are part of what is flushed.
    await this.#turn;
    this.#close();
    const results = await Promise.allSettled([...this.#uploading].map(({ durable }) => durable));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /**
   * Begins to upload the open segment, and once more when all calls of {@link place} so far have ended. Does
   * not wait.
   */
  push(): void {
    this.#close();
    if (this.#placingCount > 0) void this.#turn.then(() => this.#close());
  }

  /**
   * Copies a record out of memory, if its segment is open or being uploaded. Otherwise does nothing and
   * returns false: then the store has the segment, or its upload has failed.
   *
   * @param into as long as the record.
   */
  copyHeld({ segment: id, offsetBytes, lengthBytes }: Pointer, into: Uint8Array): boolean {
    const segment = this.#open?.id === id ? this.#open : this.#held.get(id);
    if (segment === undefined) return false;
    for (let done = 0; done < lengthBytes; ) {
      const at = offsetBytes + done;
      const within = at % CHUNK_BYTES;
      const chunk = segment.chunks[Math.floor(at / CHUNK_BYTES)];
      const part = chunk?.subarray(within, Math.min(CHUNK_BYTES, within + lengthBytes - done));
      if (part === undefined) throw new NetsealError('EBUG', `segment ${id} has no byte ${at}`);
      copyBytes(part, into, done);
      done += part.byteLength;
    }
    return true;
  }

  /** True for a segment of this writer that is not in the store: it is open, on its way, or lost. */
  isUnstored(segment: Id): boolean {
    return this.#open?.id === segment || this.#unstored.has(segment);
  }

  /** Begins to upload a segment if it is this writer's open one. Does not wait. */
  closeIfOpen(segment: Id): void {
    if (this.#open?.id === segment) this.#close();
  }

  /** True for the open segment of this writer: it still takes records. */
  isOpen(segment: Id): boolean {
    return this.#open?.id === segment;
  }

  /**
   * Returns how long ago the upload of a segment began. Undefined for segments of other writers, and for one
   * that `uploadTimesMax` later ones have followed; the store knows how old those are.
   */
  ageMs(segment: Id): number | undefined {
    const atMs = this.#uploadedAtMs.get(segment);
    return atMs === undefined ? undefined : this.#nowMs() - atMs;
  }

  /**
   * How many closed segments the writer remembers anything of: at most `uploadTimesMax`, and those that
   * failed.
   */
  get rememberedCount(): number {
    return new Set([...this.#unstored.keys(), ...this.#uploadedAtMs.keys()]).size;
  }

  /**
   * Reads a segment from the store and writes it again, so that its age starts anew. EMISSING when it is
   * gone.
   */
  async refresh(segment: Id): Promise<void> {
    const { store } = this.#sealing;
    const nowMs = this.#nowMs();
    const { bytes } = await store.get(segmentKey(segment));
    await store.put(segmentKey(segment), [bytes], { bytesAreUnique: true });
    if (this.#uploadedAtMs.has(segment)) this.#noteUpload(segment, nowMs);
  }

  #noteUpload(segment: Id, atMs: number): void {
    this.#uploadedAtMs.delete(segment);
    this.#uploadedAtMs.set(segment, atMs);
    const [oldest] = this.#uploadedAtMs.keys();
    if (oldest !== undefined && this.#uploadedAtMs.size > this.#uploadTimesMax)
      this.#uploadedAtMs.delete(oldest);
  }

  #whenClosed(segment: Id): Promise<void> {
    let waiter = this.#closeWaiters.get(segment);
    if (waiter === undefined) {
      waiter = Promise.withResolvers<void>();
      this.#closeWaiters.set(segment, waiter);
    }
    return waiter.promise;
  }

  #mustClose({ bytes }: RecordToPlace): boolean {
    const segment = this.#open;
    if (segment === undefined || segment.entries.length === 0) return false;
    const isFull = segment.lengthBytes + bytes.byteLength > this.#segmentBytes;
    return isFull || segment.entries.length >= RECORDS_PER_SEGMENT_MAX;
  }

  #append({ bytes, tag, ...place }: RecordToPlace): Pointer {
    this.#open ??= { id: randomId(), chunks: [], entries: [], lengthBytes: 0 };
    const segment = this.#open;
    const offsetBytes = segment.lengthBytes;
    for (let done = 0; done < bytes.byteLength; ) {
      const within = segment.lengthBytes % CHUNK_BYTES;
      if (within === 0) segment.chunks.push(this.#freeChunks.pop() ?? new Uint8Array(CHUNK_BYTES));
      const part = bytes.subarray(done, done + CHUNK_BYTES - within);
      const chunk = segment.chunks.at(-1);
      if (chunk !== undefined) copyBytes(part, chunk, within);
      segment.lengthBytes += part.byteLength;
      done += part.byteLength;
    }
    const lengthBytes = bytes.byteLength;
    segment.entries.push({ ...place, offsetBytes, lengthBytes, tag });
    return { segment: segment.id, offsetBytes, lengthBytes, tag };
  }

  #close(): void {
    const segment = this.#open;
    if (segment === undefined) return;
    this.#open = undefined;
    const durable = this.#upload(segment);
    this.#unstored.set(segment.id, durable);
    this.#held.set(segment.id, segment);
    this.#noteUpload(segment.id, this.#nowMs());
    const done = (): void => {
      this.#uploading.delete(upload);
      this.#held.delete(segment.id);
      // Chunks are reused only now: the store may read them until its call has settled.
      const room = (this.#uploadsMax + 1) * Math.ceil(this.#segmentBytes / CHUNK_BYTES);
      for (const chunk of segment.chunks) if (this.#freeChunks.length < room) this.#freeChunks.push(chunk);
    };
    const stored = (): void => {
      this.#unstored.delete(segment.id);
      done();
    };
    const upload = { durable, settled: durable.then(stored, done) };
    this.#uploading.add(upload);
    this.#closeWaiters.get(segment.id)?.resolve();
    this.#closeWaiters.delete(segment.id);
  }

  async #upload(segment: OpenSegment): Promise<void> {
    const { control, store } = this.#sealing;
    const at = { kind: 'segmentFooter', objectId: segment.id, index: 0 } as const;
    const footer = control.seal(at, encodeFooter(segment.entries)).bytes;
    const parts = [...chunkViews(segment), footer, encodeTrailer(footer.byteLength)];
    try {
      await store.put(segmentKey(segment.id), parts, { bytesAreUnique: true });
    } catch (cause) {
      if (codeOf(cause) !== 'EUNCERTAIN') throw cause;
      // The segment may be in the store after all, but nothing will refer to it: each commit waits for its
      // segments.
      const problem = `segment ${segment.id} may not be in the store: its records count as lost`;
      throw new NetsealError('EUNAVAILABLE', problem, { cause });
    }
    this.#sentBytes += parts.reduce((sum, part) => sum + part.byteLength, 0);
  }
}

function chunkViews({ chunks, lengthBytes }: OpenSegment): Uint8Array[] {
  return chunks.map((chunk, at) => chunk.subarray(0, Math.min(CHUNK_BYTES, lengthBytes - at * CHUNK_BYTES)));
}
