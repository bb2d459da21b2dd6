/**
 * Reading ahead for one who reads from front to back. What it fetches fills pages; a read that comes
 * meanwhile shares the fetch.
 *
 *   window:  0 ──a read begins where the last one ended──▶ 4 units ──again──▶ twice as long, up to 8 MiB
 *            ▲──────────a read begins elsewhere─────────────────┘
 *            half as long when what was fetched is not in pages any more, and nobody has read it
 *
 * Invariants
 *   1. What somebody waits for comes first: see `Fetches.fetchAhead`.
 *   2. It fails in silence. The read that needs the bytes fetches them itself, and reports the error.
 *   3. Nothing is begun once the file is being given back. Giving it back waits for what is under way.
 */
import { MIB, sizeToUnitCount } from '../base/geometry.ts';
import type { Base } from './base.ts';
import type { Fetches, WantedUnit } from './fetch.ts';
import type { FileParts } from './parts.ts';

const FIRST_UNITS = 4;
const WINDOW_BYTES_MAX: number = 8 * MIB;
/** At most this share of all pages is read ahead. */
const PAGES_SHARE = 8;

/** What reading ahead needs of an open file. */
export interface ReadAheadParts<Handle> {
  readonly parts: FileParts<Handle>;
  readonly base: Base<Handle>;
  readonly fetches: Fetches<Handle>;
  /** Aborts when the file is given back. */
  readonly ended: AbortSignal;
  /** Takes over work that the file waits for before it is given back. It never rejects. */
  track(work: Promise<void>): void;
}

export class ReadAhead<Handle> {
  readonly #file: ReadAheadParts<Handle>;
  /** Where the last read ended. */
  #nextBytes = 0;
  #windowBytes = 0;
  /** Where the bytes that were read ahead end. */
  #aheadToBytes = 0;
  #isUnderWay = false;

  constructor(file: ReadAheadParts<Handle>) {
    this.#file = file;
  }

  /** Notes a read whose own bytes were asked for. Fetches what is likely to be read next. */
  reads(offsetBytes: number, lengthBytes: number): void {
    const { netfs, regions } = this.#file.parts;
    const { unitSizeBytes } = regions;
    const { budgetBytes, heldBytes } = netfs.pages.use;
    // Bytes that find no room in pages would be fetched for nothing.
    const most = Math.min(WINDOW_BYTES_MAX, (budgetBytes - heldBytes) / PAGES_SHARE);
    const isNext = offsetBytes === this.#nextBytes && offsetBytes > 0;
    this.#nextBytes = offsetBytes + lengthBytes;
    if (isNext) {
      const isLost = this.#isLost(Math.floor(offsetBytes / unitSizeBytes));
      if (isLost) this.#aheadToBytes = 0;
      const wanted = isLost ? this.#windowBytes / 2 : 2 * this.#windowBytes;
      this.#windowBytes = Math.min(most, Math.max(FIRST_UNITS * unitSizeBytes, wanted));
    } else {
      this.#windowBytes = 0;
      this.#aheadToBytes = 0;
    }
    const isDue = this.#isDue;
    if (this.#windowBytes < unitSizeBytes || !isDue || this.#isUnderWay || this.#file.ended.aborted) return;
    this.#isUnderWay = true;
    const fetching = this.#fetch(this.#nextBytes + this.#windowBytes).finally(() => {
      this.#isUnderWay = false;
    });
    this.#file.track(fetching);
  }

  /** True when more is to be fetched: once half of the window was read, so that pieces are large. */
  get #isDue(): boolean {
    return this.#aheadToBytes - this.#nextBytes < this.#windowBytes / 2;
  }

  /**
   * True when a read goes on to another unit than `lastUnit`, and that was fetched ahead but is not in pages.
   */
  #isLost(lastUnit: number): boolean {
    const { parts, fetches } = this.#file;
    const nextUnit = Math.floor(this.#nextBytes / parts.regions.unitSizeBytes);
    if (nextUnit === lastUnit || this.#nextBytes >= this.#aheadToBytes) return false;
    return fetches.isAheadIdle && !this.#isUnderWay && this.#wanted(nextUnit).length > 0;
  }

  /** Never rejects. */
  async #fetch(toBytes: number): Promise<void> {
    const { parts, base, fetches, ended } = this.#file;
    const { regions } = parts;
    const { unitSizeBytes } = regions;
    const fromUnit = Math.floor(Math.max(this.#aheadToBytes, this.#nextBytes) / unitSizeBytes);
    const toUnit = sizeToUnitCount(Math.min(toBytes, regions.sizeBytes), unitSizeBytes);
    if (fromUnit >= toUnit) return;
    const units = Array.from({ length: toUnit - fromUnit }, (_, at) => fromUnit + at);
    try {
      const unknown = units.filter(unit => regions.layers.find(unit) === 'unknown');
      if (unknown.length > 0) await base.locate(unknown, ended);
      ended.throwIfAborted();
      fetches.fetchAhead(units.flatMap(unit => this.#wanted(unit)));
      this.#aheadToBytes = toUnit * unitSizeBytes;
    } catch {
      // The read that needs these bytes reports the error.
      this.#windowBytes = 0;
    }
  }

  #wanted(unit: number): Pick<WantedUnit, 'unit' | 'receipt'>[] {
    const { pages, regions } = this.#file.parts;
    const found = regions.layers.find(unit);
    const fromBytes = unit * regions.unitSizeBytes;
    const toBytes = Math.min(fromBytes + regions.unitSizeBytes, regions.sizeBytes);
    if (found === 'hole' || found === 'unknown' || pages.isUptodate({ fromBytes, toBytes })) return [];
    return [{ unit, receipt: found }];
  }
}
