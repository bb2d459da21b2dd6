/**
 * Which batches of the dirty zones are released already, for the next opening: bits in rows, one row for 1,024 ids of a zone, that
 * go when the zone's file has gone. They are by zone, whose names never come again: should a batch ever get an id that another
 * one had, it is not taken for that.
 *
 *   row name   keyed hash of the zone's name and the first id
 *   value      zone's name[16], first id u64, bits[128]
 */
import { getU64, setU64, toHex, viewOf } from '../../base/bytes.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import type { RowChange } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';

const IDS_PER_ROW = 1024;
const NAME_BYTES = 16;
const BITS_AT = 24;
const ROW_BYTES = BITS_AT + IDS_PER_ROW / 8;

export class Released {
  readonly #rows: Rows;
  readonly #fingerprinter: Fingerprinter;
  /** Values of rows, by the name of the zone and the first id. */
  readonly #bits = new Map<string, Map<number, Uint8Array>>();
  #idMax = 0;

  /** Reads what earlier sessions have left. */
  constructor(rows: Rows, fingerprinter: Fingerprinter) {
    this.#rows = rows;
    this.#fingerprinter = fingerprinter;
    for (const { value } of rows.all('released')) {
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

  has(zoneName: Uint8Array, id: number): boolean {
    const firstId = firstIdOf(id);
    const bits = this.#bits.get(toHex(zoneName))?.get(firstId);
    return bits !== undefined && ((bits[byteOf(id, firstId)] ?? 0) & bitOf(id)) !== 0;
  }

  /** Notes batches of a zone; returns the rows that have to be saved. */
  mark(zoneName: Uint8Array, ids: Iterable<number>): RowChange[] {
    const rows = this.#of(zoneName);
    const changed = new Map<number, Uint8Array>();
    for (const id of ids) {
      const firstId = firstIdOf(id);
      const row = rows.get(firstId) ?? newRow(zoneName, firstId);
      rows.set(firstId, row);
      const at = byteOf(id, firstId);
      row[at] = (row[at] ?? 0) | bitOf(id);
      changed.set(firstId, row);
    }
    return [...changed].map(([firstId, value]) => ({
      kind: 'released',
      name: this.#rowName(zoneName, firstId),
      value: value.slice(),
    }));
  }

  /** The zone's file is not among the dirty ones any more. */
  forget(zoneName: Uint8Array): void {
    const rows = this.#bits.get(toHex(zoneName));
    this.#bits.delete(toHex(zoneName));
    const gone = [...(rows?.keys() ?? [])].map(firstId => ({
      kind: 'released' as const,
      name: this.#rowName(zoneName, firstId),
      value: undefined,
    }));
    if (gone.length > 0) this.#rows.saveAll(gone);
  }

  /** Only these zones are there. @param names in hexadecimal. */
  forgetAllBut(names: ReadonlySet<string>): void {
    for (const [name, rows] of [...this.#bits]) {
      const [row] = rows.values();
      if (!names.has(name) && row !== undefined) this.forget(row.subarray(0, NAME_BYTES));
    }
  }

  #of(zoneName: Uint8Array): Map<number, Uint8Array> {
    const key = toHex(zoneName);
    const known = this.#bits.get(key);
    if (known !== undefined) return known;
    const rows = new Map<number, Uint8Array>();
    this.#bits.set(key, rows);
    return rows;
  }

  #rowName(zoneName: Uint8Array, firstId: number): Uint8Array {
    const id = new Uint8Array(8);
    setU64(viewOf(id), 0, firstId);
    return this.#fingerprinter.name('released', zoneName, id);
  }
}

function newRow(zoneName: Uint8Array, firstId: number): Uint8Array {
  const row = new Uint8Array(ROW_BYTES);
  row.set(zoneName);
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
