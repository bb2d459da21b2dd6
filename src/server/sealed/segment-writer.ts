/**
 * Fills segments with sealed records and uploads them. Any number of callers place records; each record gets its pointer
 * at once, before its segment is uploaded, so that map pages and leaves that hold the pointer can go into the same segment.
 *
 *   open ──no room left, or flush()──▶ closing ──▶ uploading ──▶ durable
 *                                                                        └────────▶ failed (its records are lost)
 *
 * Invariants
 *   1. Records are placed in the order of calls.
 *   2. A pointer may be committed only after `durable(pointer.segment)` has resolved.
 *   3. Memory: at most `uploadsMax` + 1 segments. Whoever places more waits for an upload to end.
 *   4. A segment's id is random and used once; its object never changes.
 *   5. A segment that failed is remembered as long as the writer lives: its records must never be committed.
 */
import { MIB } from '../../base/geometry.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { RecordKind } from '../../unit/record-format.ts';
import { segmentKey } from './object-keys.ts';
import type { Pointer } from './pointer.ts';
import type { Sealing } from './sealing.ts';
import { encodeFooter, encodeTrailer, type SegmentEntry } from './segment-format.ts';

export interface SegmentSettings {
  /** A segment is closed when it would grow beyond this; a larger record gets one of its own. Default 8 MiB. */
  readonly segmentBytes?: number;
  /** Segments on their way at once. Default 3. */
  readonly uploadsMax?: number;
  /** The time in ms since 1970; the system's by default. */
  readonly nowMs?: () => number;
}

/** A record to place; its bytes are copied. */
export interface RecordToPlace {
  readonly kind: RecordKind;
  readonly objectId: Id;
  readonly index: number;
  readonly unitSizeLog2: number;
  readonly bytes: Uint8Array;
  /** 16 bytes; the caller gives them away. */
  readonly tag: Uint8Array;
}

/** Large enough for few requests; not larger, as so much memory is used anew for each of those on their way. */
export const SEGMENT_BYTES_DEFAULT: number = 8 * MIB;
const UPLOADS_MAX_DEFAULT = 3;
/** Segments are kept in pieces, so that a small one takes little memory. */
const CHUNK_BYTES: number = MIB;
/** Footers grow with the number of records. */
const RECORDS_PER_SEGMENT_MAX = 65_536;
/** How many segments' upload times are remembered: those of 64 GiB, in about a megabyte. */
const UPLOAD_TIMES_MAX = 8192;

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
  readonly #nowMs: () => number;
  readonly #freeChunks: Uint8Array[] = [];
  /** Of closed segments, those on their way and those that failed: what is not here is in the store, or is not ours. */
  readonly #unstored = new Map<Id, Promise<void>>();
  /** When the uploads of the latest segments began, oldest first. */
  readonly #uploadedAtMs = new Map<Id, number>();
  readonly #uploading = new Set<Upload>();
  readonly #closeWaiters = new Map<Id, PromiseWithResolvers<void>>();
  #open: OpenSegment | undefined;
  /** Ends when all calls of {@link place} so far have. */
  #turn: Promise<void> = Promise.resolve();
  #sentBytes = 0;

  constructor(sealing: Sealing, settings: SegmentSettings = {}) {
    this.#sealing = sealing;
    this.#segmentBytes = settings.segmentBytes ?? SEGMENT_BYTES_DEFAULT;
    this.#uploadsMax = settings.uploadsMax ?? UPLOADS_MAX_DEFAULT;
    this.#nowMs = settings.nowMs ?? Date.now;
  }

  /** Bytes of segments that became durable. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** Copies records into the open segment. Resolves with their pointers, in order; waits while uploads lag. */
  async place(records: readonly RecordToPlace[]): Promise<Pointer[]> {
    const before = this.#turn;
    const { promise: turn, resolve: endTurn } = Promise.withResolvers<void>();
    this.#turn = turn;
    await before;
    try {
      const pointers: Pointer[] = [];
      for (const record of records) {
        if (this.#mustClose(record)) this.#close();
        while (this.#open === undefined && this.#uploading.size >= this.#uploadsMax) {
          // Not what it failed with: only who needs the segment is to hear of that.
          await Promise.race([...this.#uploading].map(({ settled }) => settled));
        }
        pointers.push(this.#append(record));
      }
      return pointers;
    } finally {
      endTurn();
    }
  }

  /**
   * Resolves when the segment is in the store; rejects with what its upload failed with. Does not close a segment that
   * is still open: see {@link flush}.
   */
  async durable(segment: Id): Promise<void> {
    if (this.#open?.id === segment) await this.#whenClosed(segment);
    await this.#unstored.get(segment);
  }

  /** Closes the open segment. Resolves when everything placed so far is in the store; rejects if any of it failed. */
  async flush(): Promise<void> {
    // Whoever was placing before us is part of what is to be flushed.
    await this.#turn;
    this.#close();
    const results = await Promise.allSettled([...this.#uploading].map(({ durable }) => durable));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** Makes sure that a segment of this writer is on its way, without waiting. */
  closeIfOpen(segment: Id): void {
    if (this.#open?.id === segment) this.#close();
  }

  /** Whether a segment of this writer still takes records. */
  isOpen(segment: Id): boolean {
    return this.#open?.id === segment;
  }

  /**
   * Returns how long ago a segment of this writer was uploaded. Undefined for other writers' segments, and for those that
   * thousands of later ones have followed: the store knows their age.
   */
  ageMs(segment: Id): number | undefined {
    const atMs = this.#uploadedAtMs.get(segment);
    return atMs === undefined ? undefined : this.#nowMs() - atMs;
  }

  /** How many closed segments the writer still remembers anything of. It stays bounded, however long a session lives. */
  get rememberedCount(): number {
    return new Set([...this.#unstored.keys(), ...this.#uploadedAtMs.keys()]).size;
  }

  /** Uploads a segment of this writer again, so that its age starts anew. EMISSING when it is gone. */
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
    if (oldest !== undefined && this.#uploadedAtMs.size > UPLOAD_TIMES_MAX) this.#uploadedAtMs.delete(oldest);
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
      segment.chunks.at(-1)?.set(part, within);
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
    this.#noteUpload(segment.id, this.#nowMs());
    const done = (): void => {
      this.#uploading.delete(upload);
      // Given back only now: the store may read them until it has settled.
      const room = (this.#uploadsMax + 1) * Math.ceil(this.#segmentBytes / CHUNK_BYTES);
      for (const chunk of segment.chunks) if (this.#freeChunks.length < room) this.#freeChunks.push(chunk);
    };
    // Whoever needs the segment hears of its failure from `durable`.
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
    await store.put(segmentKey(segment.id), parts, { bytesAreUnique: true });
    this.#sentBytes += parts.reduce((sum, part) => sum + part.byteLength, 0);
  }
}

function chunkViews({ chunks, lengthBytes }: OpenSegment): Uint8Array[] {
  return chunks.map((chunk, at) => chunk.subarray(0, Math.min(CHUNK_BYTES, lengthBytes - at * CHUNK_BYTES)));
}
