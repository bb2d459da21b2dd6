/**
 * The page cache as the rest of netfs sees it: plain bytes of files, in granules of 4 KiB.
 *
 * A granule of a file is in one of these states:
 *
 *   absent      nothing is kept
 *   partial     holds what was written to it, and nothing else. The spans (`regions/spans.ts`) say which bytes
 *               these are; pages do not know. It is always held.
 *   uptodate    all of it can be read
 *
 * One that is not absent may be held: it has bytes that are not durable anywhere else. Pages need not know
 * whether a flush has copied these already. So there is one mark, not two (dirty and writeback), and the
 * spans alone decide when it goes.
 *
 * Rules
 *   1. A granule that is held is never evicted. Any other may vanish at any time, but never within one turn
 *      of the event loop in which the caller has not asked for memory.
 *   2. A granule that is not held is uptodate: when a partial granule is released, it becomes absent.
 *   3. Every call is synchronous, and changes are made by one thread.
 *
 * All ranges are half-open, in bytes of the file, and safe integers. A range that is not aligned stands for
 * the granules that it touches, unless the call says otherwise.
 */
import type { CallOptions } from '../../base/call-options.ts';

/** What is uptodate or held as one. */
export const GRANULE_BYTES = 4096;

/** The bytes [fromBytes, toBytes) of a file. */
export interface ByteRange {
  readonly fromBytes: number;
  readonly toBytes: number;
}

/** How the memory of a page cache is used now. */
export interface PageUse {
  /** All memory for pages. */
  readonly budgetBytes: number;
  /** Memory that holds anything: frames, not only the granules in use within them. */
  readonly usedBytes: number;
  /** Memory that cannot be evicted because something in it is held. */
  readonly heldBytes: number;
}

/** Memory that is being filled. It counts as used, and holds nothing that anybody reads. */
export interface Filling {
  /**
   * All of the memory, in the order of the file's bytes. Threads may write to it until `insert` or `release`.
   */
  readonly parts: readonly Uint8Array<SharedArrayBuffer>[];
  readonly lengthBytes: number;
  /**
   * Gives the memory back, when nobody writes to it any more. A second call, or one after `insert`, does
   * nothing.
   */
  release(): void;
}

/** The pages of all files. They share one budget, which never grows. */
export interface PageCache {
  readonly use: PageUse;

  /**
   * Adds a file, of which nothing is cached yet. The caller has at most one `FilePages` for a key, and drops
   * it when it is done with the file.
   *
   * @param key names the file for readers in other threads.
   */
  addFile(key: Uint8Array): FilePages;

  /**
   * Takes memory for bytes of a file that are yet to come, if need be from granules that are not held.
   * Undefined when there is not enough. The caller gives it to `insert`, or releases it.
   */
  reserve(lengthBytes: number): Filling | undefined;

  /**
   * Resolves when memory may have become free: a granule was dropped or released after this call.
   * Callers resolve in the order in which they came. It does not promise that there is room now: try again.
   *
   * Rejects with the signal's reason, or with ECLOSED.
   */
  waitForRoom(options?: CallOptions): Promise<void>;

  /** Gives all memory back. Callers that wait fail with ECLOSED. */
  close(): void;
}

/** The pages of one file. */
export interface FilePages {
  /**
   * Copies bytes from `offsetBytes` on, as far as granules are uptodate.
   *
   * @returns how many bytes were copied. If it is less than `into` holds, then the granule of the byte after
   *   them is not uptodate.
   */
  read(offsetBytes: number, into: Uint8Array): number;

  /**
   * Copies bytes whatever the state of their granules: bytes that the caller knows from the spans to be
   * there. EBUG when a granule is absent.
   */
  copyOut(offsetBytes: number, into: Uint8Array): void;

  /**
   * Copies a write in and holds its granules. A granule that the write covers wholly becomes uptodate. An
   * absent granule that it covers in part becomes partial.
   *
   * @returns how many bytes were copied. If it is less than `from` holds, no memory was free for the next
   *   granule: the caller flushes, and waits for room. Bytes copied stay.
   */
  write(offsetBytes: number, from: Uint8Array): number;

  /**
   * Completes granules with bytes of the file as they are below all writes. Only granules that lie wholly in
   * the range are looked at. One that is uptodate stays as it is; one that is partial gets the bytes outside
   * `keep`; one that is absent gets all of them, if memory is free. All three are uptodate then.
   *
   * @param from the bytes of the range. Where it is shorter than the range, zeros follow; undefined: all
   *   zeros.
   * @param keep what was written and must stay: all spans, those of a flush under way included, that touch
   *   the range; sorted, not overlapping.
   */
  fill(range: ByteRange, from: Uint8Array | undefined, keep: readonly ByteRange[]): void;

  /**
   * As `fill`, with the bytes of `filling` as those from `offsetBytes` on. Most of the memory changes hands,
   * and nothing is copied. The filling is used up.
   *
   * @param offsetBytes a multiple of 64 KiB. EBUG for any other; then nothing is changed.
   */
  insert(offsetBytes: number, filling: Filling, keep: readonly ByteRange[]): void;

  /**
   * Makes partial granules that lie wholly in the range uptodate. The caller knows that all bytes are there.
   */
  markUptodate(range: ByteRange): void;

  /** Returns true when all granules that the range touches are uptodate. */
  isUptodate(range: ByteRange): boolean;

  /** Lists the parts of the range whose granules are not uptodate, cut to the range; ascending, joined. */
  missing(range: ByteRange): ByteRange[];

  /** Lists the parts of the range whose granules are neither held nor absent, as `missing` does. */
  clean(range: ByteRange): ByteRange[];

  /** Holds granules no longer. The caller knows from the spans that all their bytes are durable, or gone. */
  release(range: ByteRange): void;

  /** Drops granules that are not held. */
  dropClean(range: ByteRange): void;

  /**
   * Drops everything from `sizeBytes` on, held or not. In the granule that `sizeBytes` lies in, the bytes
   * from there on become zeros; a partial one stays partial.
   */
  truncate(sizeBytes: number): void;

  /** Tells threads that only read what they may believe of this file, and for how long. */
  publish(facts: PageFacts): void;

  /** Drops everything, held or not, and the file itself. */
  remove(): void;
}

/** What a thread that only reads pages must know of a file. */
export interface PageFacts {
  readonly sizeBytes: number;
  /** As `process.hrtime.bigint()` counts: from then on the file must be asked for again. */
  readonly freshUntilNs: bigint;
}
