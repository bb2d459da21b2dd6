/**
 * Writes into pages.
 *
 *   at once:   nobody else writes to the units and memory is free: one turn, and no region is made
 *   reserved:  the range is cut into regions; all of them are reserved in one turn, so that another write of the
 *              same bytes comes before all of them or after
 *   active:    region after region: bytes are copied, and are dirty in the same turn. While memory is short, the
 *              writer waits; what it has written may be flushed meanwhile
 *   ended
 *
 * Invariants
 *   1. Bytes are in pages before they are dirty, and both happen in one turn.
 *   2. Whatever happens, every region that was reserved ends.
 *   3. Nobody begins to write while the file's version is asked for, or a conflict is resolved.
 */

import { abortable } from '../base/abortable.ts';
import { bestEffort } from '../base/best-effort.ts';
import { NetsealError } from '../base/errors.ts';
import { SIZE_BYTES_MAX } from '../base/geometry.ts';
import type { Base } from './base.ts';
import type { Fetches } from './fetch.ts';
import type { Flusher } from './flush.ts';
import type { Gate } from './gate.ts';
import { GRANULE_BYTES } from './pages/pages.ts';
import type { FileParts } from './parts.ts';
import { complete } from './read.ts';
import type { Writer as Region } from './regions/region.ts';
import type { Room } from './room.ts';

/** A region takes at most this share of the pages. */
const REGION_SHARE = 16;

/** The phases that a write touches. */
export interface WriterParts<Handle> {
  readonly base: Base<Handle>;
  readonly fetches: Fetches<Handle>;
  readonly flusher: Flusher<Handle>;
  readonly gate: Gate;
  readonly room: Room;
  /** Aborts when the file is given back: whoever still waits then fails with its reason. */
  readonly ended: AbortSignal;
  /** Something was done to the file. */
  onChange(): void;
  /** True when the records of changes need so much memory that they must be committed. */
  areRecordsFull(): boolean;
  /** Commits if they do. */
  makeRecordsFit(signal: AbortSignal): Promise<void>;
}

/** A write under way. */
interface Writing {
  readonly offsetBytes: number;
  readonly from: Uint8Array;
  /** What is in pages. */
  doneBytes: number;
}

export class Writer<Handle> {
  readonly #parts: FileParts<Handle>;
  readonly #phases: WriterParts<Handle>;
  readonly #regionBytes: number;
  /** The append that came last: the next one begins where it ends. */
  #appending: Promise<unknown> = Promise.resolve();

  constructor(parts: FileParts<Handle>, phases: WriterParts<Handle>) {
    this.#parts = parts;
    this.#phases = phases;
    const shareBytes = parts.netfs.pages.use.budgetBytes / REGION_SHARE;
    this.#regionBytes = Math.max(GRANULE_BYTES, shareBytes - (shareBytes % GRANULE_BYTES));
  }

  /**
   * Writes at `offsetBytes`. Returns how many bytes were written: fewer than were given only after an error
   * or an abort. Rejects when nothing was written. The number comes at once where nothing needs to be waited
   * for.
   */
  write(offsetBytes: number, from: Uint8Array, given?: AbortSignal): number | Promise<number> {
    given?.throwIfAborted();
    const doneBytes = this.tryWrite(offsetBytes, from) ?? 0;
    if (doneBytes === from.byteLength) return doneBytes;
    return this.#writeRest(offsetBytes, from, doneBytes, this.#orEnded(given));
  }

  /** Writes what can be written in this turn. Returns how many bytes; undefined when there are none. */
  tryWrite(offsetBytes: number, from: Uint8Array): number | undefined {
    this.#phases.ended.throwIfAborted();
    requireSize(offsetBytes, from);
    if (from.byteLength === 0) return 0;
    const doneBytes = this.#writeNow(offsetBytes, from);
    return doneBytes === 0 ? undefined : doneBytes;
  }

  async #writeRest(
    offsetBytes: number,
    from: Uint8Array,
    doneBytes: number,
    signal: AbortSignal,
  ): Promise<number> {
    const writing = { offsetBytes, from, doneBytes };
    await this.#goOn(writing, [], signal);
    return writing.doneBytes;
  }

  /** Writes at the end of the file, behind all appends that came before. */
  append(from: Uint8Array, signal?: AbortSignal): Promise<number> {
    const appending = this.#appending.then(() => this.#append(from, this.#orEnded(signal)));
    this.#appending = appending.catch(() => undefined);
    return appending;
  }

  async #append(from: Uint8Array, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    if (from.byteLength === 0) return 0;
    await this.#phases.base.beFresh(signal);
    const { regions } = this.#parts;
    for (;;) {
      if (!this.#isFree) {
        await this.#whenFree(signal);
        continue;
      }
      const offsetBytes = regions.sizeBytes;
      if (regions.isWrittenBeyond(offsetBytes)) {
        // Writers that came first will move the end. At the present end, these bytes would overwrite theirs.
        await abortable(this.#phases.flusher.changed, signal);
        continue;
      }
      requireSize(offsetBytes, from);
      const [first, ...others] = this.#reserve(offsetBytes, from);
      if (first === undefined) throw new NetsealError('EBUG', 'an append reserved nothing');
      try {
        await this.#whenActive(first, signal);
      } catch (error) {
        this.#end(others, error);
        throw error;
      }
      // Writers that came first may have moved the end meanwhile.
      if (regions.sizeBytes === offsetBytes) {
        const writing = { offsetBytes, from, doneBytes: 0 };
        await this.#goOn(writing, [first, ...others], signal);
        return writing.doneBytes;
      }
      this.#end([first, ...others], undefined);
    }
  }

  #orEnded(signal: AbortSignal | undefined): AbortSignal {
    const { ended } = this.#phases;
    return signal === undefined ? ended : AbortSignal.any([signal, ended]);
  }

  /** Writes what can be written in this turn. Returns how many bytes that were. */
  #writeNow(offsetBytes: number, from: Uint8Array): number {
    const { pages, regions } = this.#parts;
    const { room } = this.#phases;
    const toBytes = offsetBytes + from.byteLength;
    if (!this.#isFree || room.isShort || from.byteLength > this.#regionBytes) return 0;
    if (!regions.canWriteNow(offsetBytes, toBytes)) return 0;
    if (regions.mustRound(Math.floor(offsetBytes / regions.unitSizeBytes))) return 0;
    const doneBytes = pages.write(offsetBytes, from);
    if (doneBytes === 0) return 0;
    regions.writeNow(offsetBytes, offsetBytes + doneBytes);
    this.#wrote(offsetBytes, offsetBytes + doneBytes);
    room.check();
    return doneBytes;
  }

  /** True when a write may begin in this turn. */
  get #isFree(): boolean {
    const { base, gate } = this.#phases;
    return !gate.isClosed && !base.isAsking;
  }

  /** Waits until writes may begin. Something may be in the way again when the caller goes on: look again. */
  async #whenFree(signal: AbortSignal): Promise<void> {
    const { base, gate } = this.#phases;
    if (gate.isClosed) await gate.whenOpened(signal);
    else await base.settled(signal);
  }

  /** Reserves the range, region by region, in one turn. */
  #reserve(offsetBytes: number, from: Uint8Array): Region[] {
    const { regions } = this.#parts;
    const reserved: Region[] = [];
    const toBytes = offsetBytes + from.byteLength;
    for (let at = offsetBytes; at < toBytes; ) {
      const end = Math.min(toBytes, at - (at % this.#regionBytes) + this.#regionBytes);
      reserved.push(regions.reserve('ordinary', at, end));
      at = end;
    }
    return reserved;
  }

  /**
   * Writes the rest, first to the regions that are reserved for it. Rejects when nothing was written at all.
   */
  async #goOn(writing: Writing, reserved: readonly Region[], signal: AbortSignal): Promise<void> {
    let next = reserved;
    try {
      while (writing.doneBytes < writing.from.byteLength) {
        if (next.length === 0) {
          if (writing.doneBytes > 0) await this.#phases.makeRecordsFit(signal);
          // Reserves in this turn, if possible, so that later calls do not overtake this one.
          while (!this.#isFree) await this.#whenFree(signal);
          const { offsetBytes, from, doneBytes } = writing;
          next = this.#reserve(offsetBytes + doneBytes, from.subarray(doneBytes));
        }
        await this.#writeReserved(next, writing, signal);
        next = [];
      }
    } catch (error) {
      if (writing.doneBytes === 0) throw error;
    }
  }

  /**
   * Writes region after region, and ends all of them. Stops early when the records of changes need too much
   * memory: a commit that finds a conflict waits until nothing is reserved.
   */
  async #writeReserved(reserved: readonly Region[], writing: Writing, signal: AbortSignal): Promise<void> {
    try {
      for (const region of reserved) {
        await this.#fill(region, writing, signal);
        this.#end([region], undefined);
        // If the base cannot be read, the unit's dirty bytes stay in pieces.
        await bestEffort(this.#round(region));
        if (this.#phases.areRecordsFull()) break;
      }
    } finally {
      this.#end(reserved, undefined);
    }
  }

  async #whenActive(region: Region, signal: AbortSignal): Promise<void> {
    // Closing a group may have made the region wait again before this goes on.
    while (region.state !== 'active') await this.#parts.regions.whenActive(region, signal);
  }

  /** Copies a region's bytes into pages, and waits for memory as often as need be. */
  async #fill(region: Region, writing: Writing, signal: AbortSignal): Promise<void> {
    const { pages, regions } = this.#parts;
    const { room, flusher } = this.#phases;
    for (;;) {
      signal.throwIfAborted();
      if (region.state !== 'active') {
        await regions.whenActive(region, signal);
        continue;
      }
      if (room.isShort) {
        await room.wait(flusher, signal);
        continue;
      }
      const at = region.dirtyToBytes;
      const { offsetBytes, from } = writing;
      const doneBytes = pages.write(at, from.subarray(at - offsetBytes, region.toBytes - offsetBytes));
      if (doneBytes > 0) {
        regions.dirtied(region, at + doneBytes);
        writing.doneBytes += doneBytes;
        this.#wrote(at, at + doneBytes);
      }
      if (region.dirtyToBytes === region.toBytes) break;
      await room.wait(flusher, signal);
    }
    room.check();
  }

  /** Ends regions in whatever state they are. Those that have ended stay. */
  #end(reserved: readonly Region[], error: unknown): void {
    const { regions } = this.#parts;
    // From the last to the first: otherwise ending one could make the next active, which is dropped as well.
    for (const region of [...reserved].reverse()) {
      if (region.state === 'active') regions.end(region);
      else if (region.state === 'pending' || region.state === 'reserved') regions.abort(region, error);
    }
    this.#phases.flusher.tellChange();
  }

  /** Completes the pages at the ends of a write, if they are now written wholly. */
  #wrote(fromBytes: number, toBytes: number): void {
    this.#completed(fromBytes);
    this.#completed(toBytes);
    this.#phases.onChange();
  }

  #completed(atBytes: number): void {
    const within = atBytes % GRANULE_BYTES;
    if (within === 0) return;
    const { pages, regions } = this.#parts;
    const granule = { fromBytes: atBytes - within, toBytes: atBytes - within + GRANULE_BYTES };
    const unit = Math.floor(atBytes / regions.unitSizeBytes);
    const start = granule.fromBytes - unit * regions.unitSizeBytes;
    const spans = regions.dirtyRegion(unit)?.spans;
    if (spans?.covers(start, start + GRANULE_BYTES) === true) pages.markUptodate(granule);
  }

  /** Rounds out dirty bytes that are in too many pieces, after their base was read. Best effort. */
  async #round({ fromBytes, toBytes }: Region): Promise<void> {
    const { pages, regions } = this.#parts;
    const { base, fetches } = this.#phases;
    const { unitSizeBytes } = regions;
    for (let unit = Math.floor(fromBytes / unitSizeBytes); unit * unitSizeBytes < toBytes; unit += 1) {
      if (!regions.mustRound(unit)) continue;
      if (regions.layers.find(unit) === 'unknown') await base.locate([unit]);
      const found = regions.layers.find(unit);
      if (found === 'hole') complete(this.#parts, unit, undefined);
      else if (found !== 'unknown') {
        // Opening the base completes the pages by itself.
        await fetches.fetch([{ unit, receipt: found, deliver: () => undefined }]);
      }
      const startBytes = unit * unitSizeBytes;
      const endBytes = Math.min(startBytes + unitSizeBytes, regions.sizeBytes);
      if (pages.isUptodate({ fromBytes: startBytes, toBytes: endBytes })) regions.roundOut(unit);
    }
  }
}

function requireSize(offsetBytes: number, { byteLength }: Uint8Array): void {
  if (offsetBytes + byteLength <= SIZE_BYTES_MAX) return;
  throw new NetsealError(
    'EINVAL',
    `cannot write ${byteLength} bytes at ${offsetBytes}: the file would be too large`,
  );
}
