/**
 * Writes the units of one queue to its open zone. Many units go into one write, and one write is under way at
 * a time.
 *
 *   append() ──▶ waiting ──▶ laid out ──writev──▶ in the index, in the zone's list ──▶ append() resolves
 *                  └─ no new zone, or the write failed ─▶ not stored, append() resolves all the same
 *
 * Nothing is synced. A unit that a power cut has torn is found out by its tag.
 */
import { crc32 } from 'node:zlib';
import { copyBytes } from '../../base/bytes.ts';
import { DrainLoop } from '../../base/drain-loop.ts';
import { roundUp } from '../../base/geometry.ts';
import { recordTag } from '../../unit/record-format.ts';
import { WRITE_BYTES_MAX, writeFully } from '../base/files.ts';
import { GRANULE_BYTES } from '../index/index-table.ts';
import type { CacheContext } from '../rows/cache-context.ts';
import { endZone } from '../zones/end-zone.ts';
import { ZONE_UNITS_MAX } from '../zones/zone-format.ts';
import type { Zone, Zones } from '../zones/zones.ts';
import type { StoredUnits, UnitToStore } from './stored-units.ts';

/** What a zone writer asks of its cache. */
export interface ZoneWriterCalls {
  /**
   * Makes a new zone for this writer; undefined when there is no room or the cache is away. Never rejects.
   */
  readonly openZone: () => Promise<Zone | undefined>;
  /** Called when a write failed. */
  readonly failed: (error: unknown) => void;
}

/**
 * The units of one call of `append`. Those before `next` are stored, those from there to `laidOut` are in the
 * write that is under way, and those up to `end` wait. An abort lowers `end` to `laidOut`.
 */
interface Waiting {
  readonly units: readonly UnitToStore[];
  end: number;
  next: number;
  laidOut: number;
  storedCount: number;
  readonly resolve: (storedCount: number) => void;
}

/** The most units of one write. */
const BATCH_UNITS = 1024;
/**
 * Units up to this length are copied together: another part in a writev costs as much as copying this many
 * bytes.
 */
const GATHER_BYTES_MAX = 16 * 1024;
/** The memory that they are copied to. */
const GATHER_BYTES = 1024 * 1024;
const ZEROS = new Uint8Array(GRANULE_BYTES);

export class ZoneWriter {
  readonly #context: CacheContext;
  readonly #zones: Zones;
  readonly #storedUnits: StoredUnits;
  readonly #calls: ZoneWriterCalls;
  readonly #waiting: Waiting[] = [];
  readonly #loop = new DrainLoop(
    () => this.#waiting.length > 0,
    () => this.#writeWaiting(),
  );
  #zone: Zone | undefined;
  #gather = new Uint8Array(0);

  constructor(context: CacheContext, zones: Zones, storedUnits: StoredUnits, calls: ZoneWriterCalls) {
    this.#context = context;
    this.#zones = zones;
    this.#storedUnits = storedUnits;
    this.#calls = calls;
  }

  get zone(): Zone | undefined {
    return this.#zone;
  }

  /**
   * Writes units. Resolves with how many were stored; their bytes are the caller's again then. Never rejects.
   * After an abort it still waits for the write that is under way, and stores no more.
   */
  append(units: readonly UnitToStore[], signal?: AbortSignal): Promise<number> {
    if (units.length === 0 || signal?.aborted === true) return Promise.resolve(0);
    const { promise, resolve } = Promise.withResolvers<number>();
    const waiting: Waiting = { units, end: units.length, next: 0, laidOut: 0, storedCount: 0, resolve };
    this.#waiting.push(waiting);
    this.#loop.start();
    if (signal === undefined) return promise;
    const abort = (): void => this.#takeBack(waiting);
    signal.addEventListener('abort', abort, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', abort));
  }

  /** Stores no more of an aborted call than what is being written. */
  #takeBack(waiting: Waiting): void {
    waiting.end = waiting.laidOut;
    const at = this.#waiting.indexOf(waiting);
    if (at < 0 || waiting.next < waiting.end) return;
    this.#waiting.splice(at, 1);
    waiting.resolve(waiting.storedCount);
  }

  /** Resolves when nothing waits and no write is under way. */
  idle(): Promise<void> {
    return this.#loop.idle();
  }

  /** Writes what waits, and ends the open zone with a footer, so that the next opening finds its units. */
  async finish(): Promise<void> {
    await this.idle();
    await this.#endZone();
  }

  /** Stops writing to a zone that is given up elsewhere. */
  abandon(zone: Zone): void {
    if (this.#zone === zone) this.#zone = undefined;
  }

  async #writeWaiting(): Promise<void> {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const zone = await this.#zoneFor(first.units[first.next]);
      if (zone === undefined) {
        // The other calls that wait would get no zone, either.
        for (const waiting of this.#waiting.splice(0)) waiting.resolve(waiting.storedCount);
        return;
      }
      await this.#writeBatch(zone);
    }
  }

  /**
   * Returns the open zone if the unit fits into it, else ends it and opens another. Undefined when there is
   * none.
   */
  async #zoneFor(unit: UnitToStore | undefined): Promise<Zone | undefined> {
    const zone = this.#zone;
    if (zone !== undefined && unit !== undefined && this.#fits(zone, zone.endBytes, unit)) return zone;
    await this.#endZone();
    this.#zone = await this.#calls.openZone();
    return this.#zone;
  }

  /**
   * True when the unit fits into what is left of the zone. A unit that is longer than a zone gets one of its
   * own.
   *
   * @param endBytes where the unit would begin.
   * @param added how many units are laid out before it and not in the zone's list yet.
   */
  #fits(zone: Zone, endBytes: number, unit: UnitToStore, added = 0): boolean {
    const { list } = zone;
    if (zone.isDead || zone.isFull || list === undefined || list.count >= ZONE_UNITS_MAX) return false;
    const bytes = roundUp(unit.bytes.byteLength, GRANULE_BYTES) + list.endBytes(added + 1);
    return endBytes === 0 || endBytes + bytes <= this.#context.settings.zoneBytes;
  }

  async #writeBatch(zone: Zone): Promise<void> {
    const layout = this.#layOut(zone);
    const zones = this.#zones;
    const isHeld = zones.pin(zone);
    try {
      const { file } = zone;
      if (!isHeld || file === undefined) throw new Error('the open zone was given up');
      const writing = writeFully(file, layout.parts, zone.endBytes);
      // Checksums are made while the system writes.
      const sums = layout.units.map(({ unit }) => unit.from?.crc32 ?? crc32(unit.bytes));
      await writing;
      this.#enter(zone, layout, sums);
    } catch (error) {
      this.#calls.failed(error);
      await this.#endZone();
      for (const waiting of this.#waiting.splice(0)) waiting.resolve(waiting.storedCount);
      return;
    } finally {
      if (isHeld) zones.unpin(zone);
    }
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (first.next < first.end) return;
      this.#waiting.shift();
      first.resolve(first.storedCount);
    }
  }

  /** Enters what was written into the zone's list and the index. */
  #enter(zone: Zone, layout: Layout, sums: readonly number[]): void {
    zone.endBytes = layout.endBytes;
    zone.fileBytes = layout.endBytes;
    for (const [position, { unit, offsetBytes, from }] of layout.units.entries()) {
      from.next += 1;
      from.storedCount += 1;
      const { object, prefix, index, bytes } = unit;
      zone.list?.add(object.key, prefix, {
        volumeId: object.volume.id,
        objectId: object.id,
        index,
        offsetBytes,
        lengthBytes: bytes.byteLength,
        crc32: sums[position] ?? 0,
        tag: recordTag(bytes),
      });
      this.#storedUnits.enter(unit, zone, offsetBytes);
    }
  }

  /** Lays out the next write: as many waiting units as go into it. */
  #layOut(zone: Zone): Layout {
    const layout: Layout = { units: [], parts: [], endBytes: zone.endBytes };
    const gather = new Gather(() => this.#takeGather(), layout.parts);
    const room = ZONE_UNITS_MAX - (zone.list?.count ?? 0);
    const limit = Math.min(BATCH_UNITS, room);
    const startBytes = zone.endBytes;
    for (const from of this.#waiting) {
      for (let at = from.next; at < from.end; at += 1) {
        const unit = from.units[at];
        const isEnough = layout.units.length >= limit || layout.endBytes - startBytes >= WRITE_BYTES_MAX;
        if (isEnough || unit === undefined || !this.#fits(zone, layout.endBytes, unit, layout.units.length)) {
          return gather.end(layout);
        }
        const { bytes } = unit;
        layout.units.push({ unit, offsetBytes: layout.endBytes, from });
        from.laidOut = at + 1;
        const paddedBytes = roundUp(bytes.byteLength, GRANULE_BYTES);
        if (!gather.add(bytes, paddedBytes)) layout.parts.push(...padded(bytes, paddedBytes));
        layout.endBytes += paddedBytes;
      }
    }
    return gather.end(layout);
  }

  #takeGather(): Uint8Array {
    if (this.#gather.byteLength === 0) this.#gather = new Uint8Array(GATHER_BYTES);
    return this.#gather;
  }

  async #endZone(): Promise<void> {
    const zone = this.#zone;
    if (zone === undefined) return;
    this.#zone = undefined;
    if (zone.isFull) return;
    if (zone.endBytes === 0) {
      await this.#zones.giveUp(zone);
      return;
    }
    await endZone(this.#context.seals, this.#zones, zone, this.#calls.failed);
  }
}

function padded(bytes: Uint8Array, paddedBytes: number): Uint8Array[] {
  const rest = paddedBytes - bytes.byteLength;
  return rest === 0 ? [bytes] : [bytes, ZEROS.subarray(0, rest)];
}

/** One write: the units in it, and the memory that is written, padding included. */
interface Layout {
  readonly units: { readonly unit: UnitToStore; readonly offsetBytes: number; readonly from: Waiting }[];
  readonly parts: Uint8Array[];
  endBytes: number;
}

/** Copies small units that follow one another in a write into one part of it, as long as there is room. */
class Gather {
  readonly #take: () => Uint8Array;
  readonly #parts: Uint8Array[];
  #from = 0;
  #to = 0;

  constructor(take: () => Uint8Array, parts: Uint8Array[]) {
    this.#take = take;
    this.#parts = parts;
  }

  /**
   * Copies a unit. False when the caller must add it as a part of its own; what was copied before is in
   * `parts` then.
   */
  add(bytes: Uint8Array, paddedBytes: number): boolean {
    if (bytes.byteLength > GATHER_BYTES_MAX || this.#to + paddedBytes > GATHER_BYTES) {
      this.#flush();
      return false;
    }
    const memory = this.#take();
    copyBytes(bytes, memory, this.#to);
    memory.fill(0, this.#to + bytes.byteLength, this.#to + paddedBytes);
    this.#to += paddedBytes;
    return true;
  }

  end(layout: Layout): Layout {
    this.#flush();
    return layout;
  }

  #flush(): void {
    if (this.#to > this.#from) this.#parts.push(this.#take().subarray(this.#from, this.#to));
    this.#from = this.#to;
  }
}
