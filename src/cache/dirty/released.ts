/**
 * Remembers for the next opening which batches in dirty zones are released: a dirty zone keeps its batches,
 * released or not, until all of them are. Each row has one bit for each of 1,024 ids of one zone.
 *
 *   row name   keyed hash of the zone's name and the first id
 *   value      zone's name[16], first id u64 (a multiple of 1,024), bits[128], set for released batches
 *
 * - A zone's rows are removed when its file is gone.
 * - Rows belong to a zone because names of zones never come twice. If ids were lost and an id is used again,
 *   in a new zone, its batch does not pass for the released one.
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
  /** Values of rows, by the zone's name in hexadecimal and the first id. */
  readonly #bits = new Map<string, Map<number, Uint8Array>>();
  #idMax = 0;

  /** Reads the rows of earlier openings. */
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

  /** An id that is not below that of any released batch known here. */
  get idMax(): number {
    return this.#idMax;
  }

  has(zoneName: Uint8Array, id: number): boolean {
    const firstId = firstIdOf(id);
    const bits = this.#bits.get(toHex(zoneName))?.get(firstId);
    return bits !== undefined && ((bits[byteOf(id, firstId)] ?? 0) & bitOf(id)) !== 0;
  }

  /** Notes that batches of a zone are released. Returns the rows that the caller must save. */
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

  /** Removes the rows of a zone whose file is no longer among the dirty ones. */
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

  /** Removes the rows of all other zones. @param names of the zones that are there, in hexadecimal. */
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
