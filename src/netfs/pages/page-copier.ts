/**
 * Copies uptodate bytes out of shared pages, on any thread, also while the thread that changes them does so.
 * `page-memory.ts` says why that is safe.
 *
 * A run of blocks whose frames lie side by side is copied as one: all entries are looked at, then all bytes
 * are copied, then all entries are looked at again. Bytes of one block are always of one state. Bytes of two
 * blocks need not be.
 */
import { copyRange } from '../../base/bytes.ts';
import { bytesIn } from './bits.ts';
import {
  BLOCK_BYTES,
  BLOCK_GRANULES,
  FRAME,
  findEntry,
  isFollowed,
  isKey,
  isUnchanged,
  offsetOf,
  type PageMemory,
  ROUNDS,
  STATE,
  SUBFRAMES,
  seqOf,
  slabOf,
  USED,
} from './page-memory.ts';
import { GRANULE_BYTES } from './pages.ts';

/** How often a read that meets a change is repeated before its bytes count as missing. */
const RETRIES_MAX = 2;
/** The most blocks that are copied as one. */
const RUN_BLOCKS_MAX = 64;

export class PageCopier {
  readonly #memory: PageMemory;
  /** The entries of the run that is being copied, and their sequence numbers before the copy. */
  readonly #entries = new Int32Array(RUN_BLOCKS_MAX);
  readonly #seqs = new Int32Array(RUN_BLOCKS_MAX);
  readonly #rounds = new Int32Array(RUN_BLOCKS_MAX);
  #count = 0;

  constructor(memory: PageMemory) {
    this.#memory = memory;
  }

  /**
   * Copies bytes of a file from `offsetBytes` on to the start of `into`, as far as they are uptodate. Returns
   * how many bytes were copied. What lies behind them in `into` may have been written, too.
   *
   * On the thread that changes pages it stops only at a granule that is not uptodate.
   */
  read(file: number, offsetBytes: number, into: Uint8Array, lengthBytes: number): number {
    let done = 0;
    let block = Math.floor(offsetBytes / BLOCK_BYTES);
    let start = offsetBytes - block * BLOCK_BYTES;
    while (done < lengthBytes) {
      const copied = this.#readRun(file, block, start, into, done, lengthBytes - done);
      done += copied;
      const end = start + copied;
      // A block is copied in one piece, or it could be of two states.
      if (copied === 0 || end % BLOCK_BYTES !== 0) break;
      block += end / BLOCK_BYTES;
      start = 0;
    }
    return done;
  }

  #readRun(
    file: number,
    block: number,
    start: number,
    into: Uint8Array,
    at: number,
    wantedBytes: number,
  ): number {
    for (let tries = 0; tries <= RETRIES_MAX; tries += 1) {
      this.#count = 0;
      const copied = this.#copyRun(file, block, start, into, at, wantedBytes);
      if (this.isRunUnchanged(this.#count)) {
        this.#noteUse();
        return copied;
      }
    }
    return 0;
  }

  /** Copies a run, and notes its entries, which must be looked at again. */
  #copyRun(
    file: number,
    block: number,
    start: number,
    into: Uint8Array,
    at: number,
    wantedBytes: number,
  ): number {
    const { words } = this.#memory;
    let firstFrame = -1;
    let frame = -1;
    let bytes = 0;
    while (bytes < wantedBytes && this.#count < RUN_BLOCKS_MAX) {
      const from = bytes === 0 ? start : 0;
      const entry = this.#findReadable(file, block + this.#count);
      if (entry === 0) break;
      const next = (words[entry + FRAME] ?? 0) - 1;
      const isFirst = firstFrame < 0;
      if (isFirst && next < 0) {
        this.#note(entry);
        return this.#copySubframes(entry, from, into, at, Math.min(wantedBytes, BLOCK_BYTES - from));
      }
      if (!isFirst && (next !== frame + 1 || !isFollowed(frame))) break;
      const wanted = Math.min(wantedBytes - bytes, BLOCK_BYTES - from);
      const readable = bytesIn((words[entry + STATE] ?? 0) & 0xffff, from, wanted);
      this.#note(entry);
      if (isFirst) firstFrame = next;
      frame = next;
      bytes += readable;
      if (from + readable < BLOCK_BYTES) break;
    }
    if (bytes > 0) {
      this.copy(slabOf(this.#memory, firstFrame), offsetOf(firstFrame) + start, into, at, bytes);
    }
    return bytes;
  }

  /** Returns the entry of a block if it is not being changed, with its sequence number noted; else 0. */
  #findReadable(file: number, block: number): number {
    const { words } = this.#memory;
    const entry = this.find(file, block);
    if (entry === 0) return 0;
    const seq = seqOf(words, entry);
    if ((seq & 1) !== 0 || !isKey(words, entry, file, block)) return 0;
    this.#seqs[this.#count] = seq;
    this.#rounds[this.#count] = words[entry + ROUNDS] ?? 0;
    return entry;
  }

  #note(entry: number): void {
    this.#entries[this.#count] = entry;
    this.#count += 1;
  }

  #copySubframes(entry: number, start: number, into: Uint8Array, at: number, wantedBytes: number): number {
    const { words } = this.#memory;
    const bytes = bytesIn((words[entry + STATE] ?? 0) & 0xffff, start, wantedBytes);
    let done = 0;
    while (done < bytes) {
      const position = start + done;
      const within = position % GRANULE_BYTES;
      const subframe = (words[entry + SUBFRAMES + Math.floor(position / GRANULE_BYTES)] ?? 0) - 1;
      // The entry was changed meanwhile. The last look at the run will find that out.
      if (subframe < 0) break;
      const part = Math.min(bytes - done, GRANULE_BYTES - within);
      const frame = Math.floor(subframe / BLOCK_GRANULES);
      const offset = offsetOf(frame) + (subframe % BLOCK_GRANULES) * GRANULE_BYTES + within;
      this.copy(slabOf(this.#memory, frame), offset, into, at + done, part);
      done += part;
    }
    return bytes;
  }

  #noteUse(): void {
    const { words } = this.#memory;
    for (let index = 0; index < this.#count; index += 1) {
      const at = (this.#entries[index] ?? 0) + USED;
      // A store that changes nothing would still take the entry out of other processors' caches.
      if (words[at] === 0) words[at] = 1;
    }
  }

  /** @internal Looks a block's entry up. Tests put changes behind it. */
  find(file: number, block: number): number {
    return findEntry(this.#memory, file, block);
  }

  /** @internal Copies bytes of a slab. Tests put changes into the middle of it. */
  copy(slab: Uint8Array, offset: number, into: Uint8Array, at: number, lengthBytes: number): void {
    copyRange(slab, offset, into, at, lengthBytes);
  }

  /** @internal The last look at the first `count` entries of the run. Tests show what happens without it. */
  isRunUnchanged(count: number): boolean {
    const { words } = this.#memory;
    for (let index = 0; index < count; index += 1) {
      const entry = this.#entries[index] ?? 0;
      if (!isUnchanged(words, entry, this.#seqs[index] ?? 0, this.#rounds[index] ?? 0)) return false;
    }
    return true;
  }
}
