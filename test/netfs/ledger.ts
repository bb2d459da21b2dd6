/**
 * Keeps account of what several clients write to one file, sector by sector, and says what is lost at the end.
 * Imports nothing of the project.
 *
 * A write is accounted for in a sector when the file has it there, or a stash does, or somebody has overwritten it
 * there who had seen it. So a client that works on an older version of the file can take nothing away from
 * another one.
 */
import { SECTOR_BYTES, writeOfSector } from './pattern.ts';

/** The number of the write in each sector: 0 for zeros, undefined where no whole write is. */
export type Sectors = readonly (number | undefined)[];

/** Returns the writes in some bytes of a file, which begin with sector `firstSector`. */
export function sectorsOf(bytes: Uint8Array, firstSector: number = 0): Sectors {
  return Array.from({ length: Math.ceil(bytes.byteLength / SECTOR_BYTES) }, (_, at) =>
    writeOfSector(bytes.subarray(at * SECTOR_BYTES, (at + 1) * SECTOR_BYTES), firstSector + at),
  );
}

export class Ledger {
  /** The sectors that each write was made to. */
  readonly #writes = new Map<number, { readonly client: string; readonly sectors: readonly number[] }>();
  /** Writes that somebody has overwritten who had seen them, as `write/sector`. */
  readonly #overwritten = new Set<string>();

  /**
   * Notes a write.
   *
   * @param seen what the client saw in its place before: as many sectors, or fewer at the end of the file.
   */
  wrote(client: string, write: number, firstSector: number, sectorCount: number, seen: Sectors): void {
    const sectors = Array.from({ length: sectorCount }, (_, at) => firstSector + at);
    this.#writes.set(write, { client, sectors });
    this.#saw(firstSector, seen);
  }

  /** Notes a truncate that removed everything from a sector on. */
  truncated(firstSector: number, seen: Sectors): void {
    this.#saw(firstSector, seen);
  }

  /**
   * Notes that a change of these sectors had to wait: what others have written there by now may have come before
   * it, unseen, as with any two calls at once. The change is write `own`, or a truncate.
   */
  waited(firstSector: number, sectorCount: number = Number.POSITIVE_INFINITY, own?: number): void {
    for (const [write, { sectors }] of this.#writes) {
      if (write === own) continue;
      for (const sector of sectors) {
        if (sector >= firstSector && sector < firstSector + sectorCount)
          this.#overwritten.add(`${write}/${sector}`);
      }
    }
  }

  /** Lists what is lost, given the file as it is at the end, and all stashes of it. */
  lost(file: Sectors, stashes: readonly Sectors[]): string[] {
    const found: string[] = [];
    for (const [write, { client, sectors }] of this.#writes) {
      for (const sector of sectors) {
        const isThere = [file, ...stashes].some(each => each[sector] === write);
        if (isThere || this.#overwritten.has(`${write}/${sector}`)) continue;
        found.push(`write ${write} of ${client} in sector ${sector}, where ${file[sector] ?? 'nothing'} is`);
      }
    }
    return found;
  }

  /** Returns whose writes these sectors are of. */
  clientsIn(content: Sectors): Set<string> {
    const writes = content.flatMap(write => this.#writes.get(write ?? 0) ?? []);
    return new Set(writes.map(({ client }) => client));
  }

  /** Lists sectors that hold no write as it was made. */
  torn(content: Sectors): number[] {
    return [...content.keys()].filter(sector => {
      const write = content[sector];
      if (write === undefined) return true;
      return write > 0 && this.#writes.get(write)?.sectors.includes(sector) !== true;
    });
  }

  #saw(firstSector: number, seen: Sectors): void {
    for (const [at, write] of seen.entries()) {
      if (write !== undefined && write > 0) this.#overwritten.add(`${write}/${firstSector + at}`);
    }
  }
}
