/**
 * Prepares what is dirty for the server: copies it, completes units, and has them sealed.
 *
 *   chosen:  units whose bases are not known are located; memory for the plain bytes is reserved
 *   copied:  in one turn, every unit becomes a flush; its bytes are copied from pages; what is zeros is zeroed.
 *            From now on pages may change and other writers may come
 *   based:   where neither pages nor what was written has all of a unit, the rest comes from the record that the
 *            unit was in that turn
 *   sealed:  workers compress and encrypt; a unit of zeros becomes a hole
 *
 * Invariants
 *   1. Workers read copies, never pages.
 *   2. Every flush that was begun is handed on, sealed or failed.
 */
import { copyBytes } from '../base/bytes.ts';
import { NetsealError } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import type { SealedBatch, UnitToSeal } from '../pipeline/requests.ts';
import type { Lease } from '../pipeline/slab.ts';
import type { Base } from './base.ts';
import type { Fetches, WantedUnit } from './fetch.ts';
import type { ByteRange } from './pages/pages.ts';
import type { FileParts } from './parts.ts';
import type { Flush, Group } from './regions/region.ts';
import type { Receipt } from './server.ts';

/** Plain bytes that are prepared together; at least one unit. */
const BATCH_BYTES: number = MIB;
/** The share of a slab that one batch may take. */
const SLAB_SHARE = 4;

/** Which units may be taken. */
export interface Choice {
  /** `whole`: none that a writer is writing to. `pressed`: those, too, as far as they are written. */
  readonly takes: 'whole' | 'pressed';
  /** Only units of this group. */
  readonly group?: Group | undefined;
}

/** A unit whose dirty bytes were copied. */
interface Copied {
  readonly flush: Flush;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** What is still missing, in offsets of the unit, and where it comes from. */
  readonly gaps: readonly ByteRange[];
  readonly receipt: Receipt | undefined;
}

/** Flushes that were begun. */
export interface Prepared {
  /** Those that were sealed. The caller releases the batch when nobody reads the records any more. */
  readonly sealed: { readonly flushes: readonly Flush[]; readonly batch: SealedBatch } | undefined;
  /** Those that were not, and why. */
  readonly failed: ReadonlyMap<Flush, unknown>;
}

export class Preparation<Handle> {
  readonly #parts: FileParts<Handle>;
  readonly #base: Base<Handle>;
  readonly #fetches: Fetches<Handle>;
  /** Called when the caller waits for memory that an upload may free. */
  readonly #onWait: () => void;

  constructor(parts: FileParts<Handle>, base: Base<Handle>, fetches: Fetches<Handle>, onWait: () => void) {
    this.#parts = parts;
    this.#base = base;
    this.#fetches = fetches;
    this.#onWait = onWait;
  }

  /**
   * Takes some dirty units and seals them. Undefined when there are none to take.
   *
   * Rejects when nothing was begun: with ECLOSED, or with what locating failed with.
   */
  async prepare(choice: Choice): Promise<Prepared | undefined> {
    const { pipeline } = this.#parts.netfs;
    const { unitSizeBytes } = this.#parts.regions;
    const batchBytes = Math.min(BATCH_BYTES, pipeline.slabBytes / SLAB_SHARE);
    const unitsMax = Math.max(1, Math.floor(batchBytes / unitSizeBytes));
    for (;;) {
      const unknown: number[] = [];
      let lengthBytes = 0;
      for (const unit of this.#chosen(choice, unitsMax)) {
        lengthBytes += this.#lengthOf(unit);
        if (this.#baseOf(unit) === 'unknown') unknown.push(unit);
      }
      if (lengthBytes === 0) return undefined;
      if (unknown.length > 0) {
        await this.#base.locate(unknown);
        continue;
      }
      const reserving = pipeline.reservePlain(lengthBytes);
      this.#onWait();
      const lease = await reserving;
      try {
        const copied = this.#copy(choice, unitsMax, lease);
        // None, when others have taken or removed them meanwhile.
        if (copied.length > 0) return await this.#seal(copied, lease);
      } finally {
        lease.release();
      }
    }
  }

  #chosen({ takes, group }: Choice, unitsMax: number): Iterable<number> {
    const units = new Set<number>();
    for (const unit of this.#parts.regions.toFlush(takes, group)) {
      units.add(unit);
      if (units.size >= unitsMax) break;
    }
    return units;
  }

  /** The bytes of the unit that the file has in the commit of the unit's group. A later group may have grown it. */
  #lengthOf(unit: number): number {
    const { regions } = this.#parts;
    const { unitSizeBytes } = regions;
    const group = regions.dirtyRegion(unit)?.group;
    const sizeBytes = group === undefined ? regions.sizeBytes : regions.sizeBytesIn(group);
    return Math.min(unitSizeBytes, sizeBytes - unit * unitSizeBytes);
  }

  /** What completes the unit; undefined when pages and dirty bytes have all of it. */
  #baseOf(unit: number): Receipt | 'hole' | 'unknown' | undefined {
    const { pages, regions } = this.#parts;
    const startBytes = unit * regions.unitSizeBytes;
    const toBytes = startBytes + this.#lengthOf(unit);
    if (pages.isUptodate({ fromBytes: startBytes, toBytes })) return undefined;
    const spans = regions.dirtyRegion(unit)?.spans;
    return spans?.covers(0, toBytes - startBytes) === true ? undefined : regions.layers.find(unit);
  }

  /** Copies what fits into the lease, in one turn. */
  #copy(choice: Choice, unitsMax: number, lease: Lease): Copied[] {
    const copied: Copied[] = [];
    let offsetBytes = 0;
    for (const unit of this.#chosen(choice, unitsMax)) {
      const lengthBytes = this.#lengthOf(unit);
      const base = this.#baseOf(unit);
      if (base === 'unknown' || offsetBytes + lengthBytes > lease.lengthBytes) continue;
      const into = lease.bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
      const gaps = this.#copyUnit(unit, into, base);
      const receipt = gaps.length === 0 || base === 'hole' ? undefined : base;
      const flush = this.#parts.regions.beginFlush(unit);
      copied.push({ flush, offsetBytes, lengthBytes, gaps, receipt });
      offsetBytes += lengthBytes;
    }
    return copied;
  }

  /** Copies what pages have of a unit, and zeroes what is zeros. Returns the gaps that its record fills. */
  #copyUnit(unit: number, into: Uint8Array, base: Receipt | 'hole' | undefined): ByteRange[] {
    const { pages, regions } = this.#parts;
    const startBytes = unit * regions.unitSizeBytes;
    const lengthBytes = into.byteLength;
    const spans = regions.dirtyRegion(unit)?.spans;
    if (spans === undefined) throw new NetsealError('EBUG', `unit ${unit} is not dirty`);
    if (
      base === undefined &&
      pages.isUptodate({ fromBytes: startBytes, toBytes: startBytes + lengthBytes })
    ) {
      pages.copyOut(startBytes, into);
      return [];
    }
    const zeroFromBytes = base === 'hole' ? 0 : regions.zeroFromBytes(unit);
    const missing: ByteRange[] = [];
    // A flush that is placed and not durable may have bytes in parts of pages, but then they are in the record.
    for (const { fromBytes, toBytes } of spans) {
      pages.copyOut(startBytes + fromBytes, into.subarray(fromBytes, toBytes));
    }
    for (const { fromBytes, toBytes } of spans.gaps(0, lengthBytes)) {
      const absent = pages.missing({ fromBytes: startBytes + fromBytes, toBytes: startBytes + toBytes });
      let next = fromBytes;
      for (const range of absent) {
        const from = range.fromBytes - startBytes;
        const to = range.toBytes - startBytes;
        if (from > next) pages.copyOut(startBytes + next, into.subarray(next, from));
        const cut = Math.max(from, Math.min(to, zeroFromBytes));
        into.fill(0, cut, to);
        if (cut > from) missing.push({ fromBytes: from, toBytes: cut });
        next = to;
      }
      if (toBytes > next) pages.copyOut(startBytes + next, into.subarray(next, toBytes));
    }
    return missing;
  }

  /** Fills gaps from the bases, then seals. Never rejects: every flush has begun. */
  async #seal(copied: readonly Copied[], lease: Lease): Promise<Prepared> {
    const failed = new Map<Flush, unknown>();
    try {
      await this.#complete(copied, lease, failed);
      const whole = copied.filter(({ flush }) => !failed.has(flush));
      if (whole.length === 0) return { sealed: undefined, failed };
      const { form, netfs } = this.#parts;
      const { keys, objectId, unitSizeBytes, suite, codec, padding } = form;
      const units = whole.map(
        ({ flush, offsetBytes, lengthBytes }): UnitToSeal => ({
          kind: 'unit',
          objectId,
          index: flush.unit,
          unitSizeBytes,
          offsetBytes,
          lengthBytes,
        }),
      );
      const request = { keys, from: lease, suite, codec, padding, holes: true, units };
      const sealing = netfs.pipeline.seal(request);
      this.#onWait();
      return { sealed: { flushes: whole.map(({ flush }) => flush), batch: await sealing }, failed };
    } catch (error) {
      for (const { flush } of copied) if (!failed.has(flush)) failed.set(flush, error);
      return { sealed: undefined, failed };
    }
  }

  async #complete(copied: readonly Copied[], lease: Lease, failed: Map<Flush, unknown>): Promise<void> {
    const wanted: WantedUnit[] = [];
    const flushes: Flush[] = [];
    for (const { flush, offsetBytes, gaps, receipt } of copied) {
      if (receipt === undefined) continue;
      flushes.push(flush);
      wanted.push({
        unit: flush.unit,
        receipt,
        deliver: plain => {
          for (const { fromBytes, toBytes } of gaps) {
            const target = lease.bytes.subarray(offsetBytes + fromBytes, offsetBytes + toBytes);
            const part = plain.subarray(fromBytes, toBytes);
            copyBytes(part, target);
            target.fill(0, part.byteLength);
          }
        },
      });
    }
    if (wanted.length === 0) return;
    for (const [at, error] of await this.#fetches.fetch(wanted)) {
      const flush = flushes[at];
      if (flush !== undefined) failed.set(flush, error);
    }
  }
}
