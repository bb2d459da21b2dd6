/**
 * Which batches of the dirty regions are released already, for the next opening: bits in rows, one row for 1,024 ids of a region, that
 * go when the region's file has gone. They are by region, whose names never come again: should a batch ever get an id that another
 * one had, it is not taken for that.
 *
 *   row name   keyed hash of the region's name and the first id
 *   value      region's name[16], first id u64, bits[128]
 */
import { getU64, setU64, toHex, viewOf } from '../../base/bytes.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { RowToSave } from '../rows/row-kinds.ts';
import type { Records } from '../rows/rows.ts';

const IDS_PER_ROW = 1024;
const NAME_BYTES = 16;
const BITS_AT = 24;
const ROW_BYTES = BITS_AT + IDS_PER_ROW / 8;

export class Released {
  readonly #records: Records;
  readonly #fingerprinter: Fingerprinter;
  /** Values of rows, by the name of the region and the first id. */
  readonly #rows = new Map<string, Map<number, Uint8Array>>();
  #idMax = 0;

  /** Reads what earlier sessions have left. */
  constructor(records: Records, fingerprinter: Fingerprinter) {
    this.#records = records;
    this.#fingerprinter = fingerprinter;
    for (const { value } of records.all('released')) {
      const firstId = value.byteLength === ROW_BYTES ? getU64(viewOf(value), NAME_BYTES) : undefined;
      if (firstId === undefined) continue;
      this.#of(value.subarray(0, NAME_BYTES)).set(firstId, value.slice());
      this.#idMax = Math.max(this.#idMax, firstId + IDS_PER_ROW - 1);
    }
  }

  /** No released batch that is known here has a higher id. */
  get idMax(): number {
    return this.#idMax;
  }

  has(regionName: Uint8Array, id: number): boolean {
    const firstId = firstIdOf(id);
    const bits = this.#rows.get(toHex(regionName))?.get(firstId);
    return bits !== undefined && ((bits[byteOf(id, firstId)] ?? 0) & bitOf(id)) !== 0;
  }

  /** Notes batches of a region; returns the rows that have to be saved. */
  mark(regionName: Uint8Array, ids: Iterable<number>): RowToSave[] {
    const rows = this.#of(regionName);
    const changed = new Map<number, Uint8Array>();
    for (const id of ids) {
      const firstId = firstIdOf(id);
      const row = rows.get(firstId) ?? newRow(regionName, firstId);
      rows.set(firstId, row);
      const at = byteOf(id, firstId);
      row[at] = (row[at] ?? 0) | bitOf(id);
      changed.set(firstId, row);
    }
    return [...changed].map(([firstId, value]) => ({
      kind: 'released',
      name: this.#rowName(regionName, firstId),
      value: value.slice(),
    }));
  }

  /** The region's file is not among the dirty ones any more. */
  forget(regionName: Uint8Array): void {
    const rows = this.#rows.get(toHex(regionName));
    this.#rows.delete(toHex(regionName));
    const gone = [...(rows?.keys() ?? [])].map(firstId => ({
      kind: 'released' as const,
      name: this.#rowName(regionName, firstId),
      value: undefined,
    }));
    if (gone.length > 0) this.#records.saveAll(gone);
  }

  /** Only these regions are there. @param names in hexadecimal. */
  forgetAllBut(names: ReadonlySet<string>): void {
    for (const [name, rows] of [...this.#rows]) {
      const [row] = rows.values();
      if (!names.has(name) && row !== undefined) this.forget(row.subarray(0, NAME_BYTES));
    }
  }

  #of(regionName: Uint8Array): Map<number, Uint8Array> {
    const key = toHex(regionName);
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    const rows = new Map<number, Uint8Array>();
    this.#rows.set(key, rows);
    return rows;
  }

  #rowName(regionName: Uint8Array, firstId: number): Uint8Array {
    const id = new Uint8Array(8);
    setU64(viewOf(id), 0, firstId);
    return this.#fingerprinter.name('released', regionName, id);
  }
}

function newRow(regionName: Uint8Array, firstId: number): Uint8Array {
  const row = new Uint8Array(ROW_BYTES);
  row.set(regionName);
  setU64(viewOf(row), NAME_BYTES, firstId);
  return row;
}

function firstIdOf(id: number): number {
  return id - (id % IDS_PER_ROW);
}

function byteOf(id: number, firstId: number): number {
  return BITS_AT + ((id - firstId) >> 3);
}

function bitOf(id: number): number {
  return 1 << (id % 8);
}
