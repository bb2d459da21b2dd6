/**
 * Reads: each part of a range from the nearest source that has it.
 *
 *   captured:  in one turn, bytes are copied out of pages, written parts of pages included, and zeros are
 *                filled in; for the rest, the records that hold it now are noted
 *   fetched:   these records come from the server and are opened; their bytes go where they are missing
 *   ended
 *
 * So a read is of one moment, whatever is written, flushed, committed or adopted while its records are on
 * their way: what was captured is not looked at again. A long read is cut into pieces of 1 MiB, each of a
 * moment of its own.
 */
import { copyBytes } from '../base/bytes.ts';
import { codeOf, NetsealError } from '../base/errors.ts';
import { MIB, roundUp } from '../base/geometry.ts';
import { inParallel } from '../base/in-parallel.ts';
import type { Base } from './base.ts';
import { type Fetches, isSameRecord, type WantedUnit } from './fetch.ts';
import { type ByteRange, GRANULE_BYTES } from './pages/pages.ts';
import type { FileParts } from './parts.ts';
import type { Receipt } from './server.ts';

/** A read up to this is of one moment. */
const PIECE_BYTES: number = MIB;
/** Pieces that are read at once. */
const PIECES_AT_ONCE = 4;
/** How often a record that is not where its receipt says is looked for elsewhere. */
const MOVED_MAX = 3;

/** What is left to fetch of a unit. */
interface Missing {
  readonly unit: number;
  readonly receipt: Receipt;
  /** Ranges of the file. */
  readonly gaps: ByteRange[];
  /** Where in the file the record's bytes count as zeros. */
  readonly zeroFromBytes: number;
}

interface Captured {
  readonly missing: readonly Missing[];
  /** Units whose records are not known. If there are any, the rest of the capture is of no use. */
  readonly unknown: readonly number[];
  /** Where the bytes that exist end, in the file. */
  readonly endBytes: number;
}

export class Reader<Handle> {
  readonly #parts: FileParts<Handle>;
  readonly #base: Base<Handle>;
  readonly #fetches: Fetches<Handle>;

  constructor(parts: FileParts<Handle>, base: Base<Handle>, fetches: Fetches<Handle>) {
    this.#parts = parts;
    this.#base = base;
    this.#fetches = fetches;
  }

  /**
   * Reads into `into` from `offsetBytes` on. Returns how many bytes it read: fewer than there is room for at
   * the end of the file, or before bytes that cannot be read. Rejects when the first one cannot be read.
   * `into` is not touched after the call has settled. The number comes at once where nothing needs to be
   * waited for.
   *
   * @param onAsked called once all bytes were asked for; not when the read fails before that.
   */
  read(
    offsetBytes: number,
    into: Uint8Array,
    signal: AbortSignal | undefined,
    onAsked: () => void,
  ): number | Promise<number> {
    signal?.throwIfAborted();
    const read = into.byteLength <= PIECE_BYTES ? this.tryRead(offsetBytes, into) : undefined;
    if (read === undefined) return this.#readInPieces(offsetBytes, into, signal, onAsked);
    onAsked();
    return read;
  }

  /**
   * Reads what pages hold. Undefined when something is missing, or the server must be asked first; then
   * `into` may hold anything.
   */
  tryRead(offsetBytes: number, into: Uint8Array): number | undefined {
    if (!this.#base.isFresh) return undefined;
    const { pages, regions } = this.#parts;
    const wanted = Math.min(into.byteLength, regions.sizeBytes - offsetBytes);
    if (wanted <= 0) return 0;
    const part = wanted === into.byteLength ? into : into.subarray(0, wanted);
    return pages.read(offsetBytes, part) === wanted ? wanted : undefined;
  }

  async #readInPieces(
    offsetBytes: number,
    into: Uint8Array,
    signal: AbortSignal | undefined,
    onAsked: () => void,
  ): Promise<number> {
    await this.#base.beFresh(signal);
    if (into.byteLength <= PIECE_BYTES) return await this.#readPiece(offsetBytes, into, signal, onAsked);
    const starts: number[] = [];
    for (let at = 0; at < into.byteLength; at += PIECE_BYTES) starts.push(at);
    const counts: number[] = [];
    const errors = new Map<number, unknown>();
    const all = inParallel(starts, PIECES_AT_ONCE, async start => {
      const piece = into.subarray(start, start + PIECE_BYTES);
      try {
        const isLast = start + PIECE_BYTES >= into.byteLength;
        const asked = isLast ? onAsked : () => undefined;
        counts[start / PIECE_BYTES] = await this.#readPiece(offsetBytes + start, piece, signal, asked);
      } catch (error) {
        errors.set(start, error);
      }
    });
    await all;
    signal?.throwIfAborted();
    let done = 0;
    for (const [index, start] of starts.entries()) {
      const count = counts[index];
      if (count === undefined && done === 0) throw errors.get(start);
      done += count ?? 0;
      if (count === undefined || count < Math.min(PIECE_BYTES, into.byteLength - start)) break;
    }
    return done;
  }

  async #readPiece(
    offsetBytes: number,
    into: Uint8Array,
    signal: AbortSignal | undefined,
    onAsked: () => void,
  ): Promise<number> {
    for (let movedCount = 0; ; movedCount += 1) {
      const captured = await this.#capture(offsetBytes, into, signal);
      const { missing, endBytes } = captured;
      const fetching = this.#fetch(missing, offsetBytes, into, signal);
      if (movedCount === 0) onAsked();
      const errors = await fetching;
      const [firstAt = 0] = [...errors.keys()].sort((left, right) => left - right);
      const error = errors.get(firstAt);
      if (error === undefined) return Math.max(0, endBytes - offsetBytes);
      const failed = missing[firstAt];
      if (failed === undefined) throw new NetsealError('EBUG', 'a record failed that nobody wanted');
      if (movedCount < MOVED_MAX && (await this.#mayBeElsewhere(failed, error, signal))) continue;
      const goodBytes = (failed.gaps[0]?.fromBytes ?? offsetBytes) - offsetBytes;
      if (goodBytes === 0) throw error;
      return goodBytes;
    }
  }

  /**
   * Returns whether to look again which record the unit is, because its record was moved, lost or replaced.
   */
  async #mayBeElsewhere(
    { unit, receipt }: Missing,
    error: unknown,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    if (!this.#parts.regions.layers.isCurrent(unit, receipt.tag)) return true;
    if (codeOf(error) !== 'EMISSING') return false;
    await this.#base.refresh(signal);
    return true;
  }

  /** Captures once everything in the range is known. */
  async #capture(offsetBytes: number, into: Uint8Array, signal: AbortSignal | undefined): Promise<Captured> {
    for (;;) {
      const captured = this.#captureNow(offsetBytes, into);
      if (captured.unknown.length === 0) return captured;
      await this.#base.locate(captured.unknown, signal);
      signal?.throwIfAborted();
    }
  }

  #captureNow(offsetBytes: number, into: Uint8Array): Captured {
    const { pages, regions } = this.#parts;
    const endBytes = Math.min(regions.sizeBytes, offsetBytes + into.byteLength);
    const missing: Missing[] = [];
    const unknown: number[] = [];
    let at = offsetBytes;
    while (at < endBytes) {
      at += pages.read(at, into.subarray(at - offsetBytes, endBytes - offsetBytes));
      if (at >= endBytes) break;
      const unit = Math.floor(at / regions.unitSizeBytes);
      const unitEnd = Math.min(endBytes, (unit + 1) * regions.unitSizeBytes);
      const [absent] = pages.missing({ fromBytes: at, toBytes: unitEnd });
      if (absent === undefined) throw new NetsealError('EBUG', `pages miss byte ${at}, and do not`);
      const gaps = this.#copyWritten(absent, offsetBytes, into);
      this.#sort(unit, gaps, missing, unknown, target => {
        into.fill(0, target.fromBytes - offsetBytes, target.toBytes - offsetBytes);
      });
      at = absent.toBytes;
    }
    return { missing, unknown, endBytes };
  }

  /** Copies bytes that were written and are not durable. Returns the ranges between them. */
  #copyWritten({ fromBytes, toBytes }: ByteRange, offsetBytes: number, into: Uint8Array): ByteRange[] {
    const { pages, regions } = this.#parts;
    const unitStart = fromBytes - (fromBytes % regions.unitSizeBytes);
    const gaps: ByteRange[] = [];
    let next = fromBytes;
    for (const span of regions.keptSpans(unitStart / regions.unitSizeBytes)) {
      const from = Math.max(fromBytes, unitStart + span.fromBytes);
      const to = Math.min(toBytes, unitStart + span.toBytes);
      if (from >= to) continue;
      pages.copyOut(from, into.subarray(from - offsetBytes, to - offsetBytes));
      if (from > next) gaps.push({ fromBytes: next, toBytes: from });
      next = to;
    }
    if (next < toBytes) gaps.push({ fromBytes: next, toBytes });
    return gaps;
  }

  /** Sorts the gaps in a unit into zeros, bytes of a record, and unknown ones. */
  #sort(
    unit: number,
    gaps: readonly ByteRange[],
    missing: Missing[],
    unknown: number[],
    zero: (range: ByteRange) => void,
  ): void {
    if (gaps.length === 0) return;
    const { regions } = this.#parts;
    const found = regions.layers.find(unit);
    if (found === 'unknown') {
      unknown.push(unit);
      return;
    }
    const zeroFromBytes =
      found === 'hole'
        ? Number.NEGATIVE_INFINITY
        : unit * regions.unitSizeBytes + regions.zeroFromBytes(unit);
    const inRecord: ByteRange[] = [];
    for (const gap of gaps) {
      const from = Math.max(gap.fromBytes, Math.min(gap.toBytes, zeroFromBytes));
      if (from < gap.toBytes) zero({ fromBytes: from, toBytes: gap.toBytes });
      if (from > gap.fromBytes) inRecord.push({ fromBytes: gap.fromBytes, toBytes: from });
    }
    if (found === 'hole' || inRecord.length === 0) return;
    const last = missing.at(-1);
    if (last?.unit === unit) last.gaps.push(...inRecord);
    else missing.push({ unit, receipt: found, gaps: inRecord, zeroFromBytes });
  }

  /** Fetches what is missing. Returns the errors, by position. */
  async #fetch(
    missing: readonly Missing[],
    offsetBytes: number,
    into: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<number, unknown>> {
    if (missing.length === 0) return new Map();
    const { unitSizeBytes } = this.#parts.regions;
    const wanted = missing.map(({ unit, receipt, gaps }): WantedUnit => {
      const unitStart = unit * unitSizeBytes;
      return {
        unit,
        receipt,
        deliver: plain => {
          for (const { fromBytes, toBytes } of gaps) {
            const target = into.subarray(fromBytes - offsetBytes, toBytes - offsetBytes);
            const part = plain.subarray(fromBytes - unitStart, toBytes - unitStart);
            copyBytes(part, target);
            target.fill(0, part.byteLength);
          }
        },
      };
    });
    return await this.#fetches.fetch(wanted, signal);
  }
}

/**
 * Completes pages with what a record holds, if the unit is that record now. What was written since stays as
 * it is.
 */
export function splice<Handle>(
  parts: FileParts<Handle>,
  unit: number,
  receipt: Receipt,
  plain: Uint8Array,
): void {
  if (isRecordOf(parts, unit, receipt)) complete(parts, unit, plain);
}

/** True when a unit is this record now, and nothing that is not durable was written over it. */
export function isUntouched<Handle>(parts: FileParts<Handle>, unit: number, receipt: Receipt): boolean {
  return isRecordOf(parts, unit, receipt) && parts.regions.keptSpans(unit).isEmpty;
}

function isRecordOf<Handle>({ regions }: FileParts<Handle>, unit: number, receipt: Receipt): boolean {
  const found = regions.layers.find(unit);
  return found !== 'hole' && found !== 'unknown' && isSameRecord(found, receipt);
}

/**
 * Completes the pages of a unit with its content: `plain`, then zeros. `layers.find` has just confirmed it.
 */
export function complete<Handle>(
  { pages, regions }: FileParts<Handle>,
  unit: number,
  plain: Uint8Array | undefined,
): void {
  const unitStart = unit * regions.unitSizeBytes;
  const keep = [...regions.keptSpans(unit)].map(({ fromBytes, toBytes }) => ({
    fromBytes: unitStart + fromBytes,
    toBytes: unitStart + toBytes,
  }));
  const toBytes = Math.min(unitStart + regions.unitSizeBytes, roundUp(regions.sizeBytes, GRANULE_BYTES));
  const valid = plain?.subarray(0, Math.min(plain.byteLength, regions.zeroFromBytes(unit)));
  pages.fill({ fromBytes: unitStart, toBytes }, valid, keep);
}
