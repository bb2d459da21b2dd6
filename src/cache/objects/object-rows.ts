/**
 * The rows of objects. A row says under which generation the object's units are found, and keeps its
 * coherency data.
 *
 *    0   8  generation
 *    8   1  flags: 1 has coherency data, 2 cached data was about to change
 *    9   1  zero
 *   10   2  day of its last use, since 1970
 *   12  16  volume id
 *   28  16  object id
 *   44      coherency data
 *
 * Generations are random numbers, so that none comes twice.
 *
 * Not every object has a row. Those without one share a generation, the *floor* of their volume and bucket;
 * the first bits of the hash that is, or would be, their row's name say which bucket. A floor is 0 until it
 * is raised.
 *
 * Old rows are removed when there are too many. First the floor of their bucket is raised, to a number that
 * no object ever had, so that invalidated units stay invalidated. This also drops the units of other objects
 * in the bucket that have no row; pinned, dirty and recent objects are given one before.
 */
import { concatBytes, getU64, setU64, viewOf } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import { AFTER_ALL_NAMES, type RowChange } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';
import { dayOf, idsOf, newRowPrefix, ROW_PREFIX_BYTES } from './row-prefix.ts';
import { FLOOR_COUNT, floorBucketOf, floorBucketStart, newGeneration, type VolumeState } from './volumes.ts';

export const COHERENCY_BYTES_MAX = 1024;
const FLAG_COHERENCY = 1;
const FLAG_CHANGING = 2;

export interface Coherency {
  readonly bytes: Uint8Array;
  readonly isChanging: boolean;
}

export interface StoredObject {
  readonly generation: number;
  readonly coherency: Coherency | undefined;
  readonly hasRow: boolean;
  /** The bucket of its row's name, if the name was needed. */
  readonly bucket: number | undefined;
}

/** A row, as the sweep of old rows sees it. */
export interface ObjectRow extends StoredObject {
  readonly name: Uint8Array;
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly day: number;
}

/** An object whose row is to be written. */
interface ObjectToSave {
  readonly volume: VolumeState;
  readonly id: Uint8Array;
  readonly generation: number;
}

export class ObjectRows {
  readonly #rows: Rows;
  readonly #fingerprinter: Fingerprinter;
  readonly #nowMs: () => number;

  constructor(rows: Rows, fingerprinter: Fingerprinter, nowMs: () => number) {
    this.#rows = rows;
    this.#fingerprinter = fingerprinter;
    this.#nowMs = nowMs;
  }

  name(volume: VolumeState, id: Uint8Array): Uint8Array {
    return this.#fingerprinter.name('object', volume.id, id);
  }

  /** Reads an object's row. When it cannot be read, the object has a new generation: nothing is found. */
  load(volume: VolumeState, id: Uint8Array): StoredObject {
    const hasRows = this.#rows.mayHaveAny('object');
    if (!hasRows && volume.floors === undefined) return NOTHING;
    const name = this.name(volume, id);
    const value = this.#rows.read('object', name);
    if (value === undefined) {
      const bucket = floorBucketOf(name);
      return { generation: volume.floors?.[bucket] ?? 0, coherency: undefined, hasRow: false, bucket };
    }
    const row = value === 'unreadable' ? undefined : decode(name, value);
    return row ?? { ...NOTHING, generation: newGeneration() };
  }

  /** Writes an object's row. Returns and `isDurable` are those of `Rows.put`. */
  save(object: ObjectToSave, coherency: Coherency | undefined, isDurable = false): boolean {
    const { name, value } = this.rowOf(object, coherency);
    return this.#rows.put('object', name, value, isDurable);
  }

  /** Returns the row that {@link save} writes. EINVAL when the coherency data is too long. */
  rowOf(
    { volume, id, generation }: ObjectToSave,
    coherency?: Coherency,
  ): RowChange & { readonly value: Uint8Array } {
    const lengthBytes = coherency?.bytes.byteLength ?? 0;
    requireArgument(
      lengthBytes <= COHERENCY_BYTES_MAX,
      `coherency data must be at most ${COHERENCY_BYTES_MAX} bytes, not ${lengthBytes}`,
    );
    const prefix = newRowPrefix(volume.id, id);
    const view = viewOf(prefix);
    setU64(view, 0, generation);
    prefix[8] =
      (coherency === undefined ? 0 : FLAG_COHERENCY) | (coherency?.isChanging === true ? FLAG_CHANGING : 0);
    view.setUint16(10, dayOf(this.#nowMs()), true);
    const value = concatBytes(prefix, coherency?.bytes ?? new Uint8Array(0));
    return { kind: 'object', name: this.name(volume, id), value };
  }

  /**
   * Returns the rows in buckets from `from` up to, not including, `to`. Rows that cannot be read are left
   * out.
   */
  rowsOf(from: number, to: number): ObjectRow[] {
    const before = to >= FLOOR_COUNT ? AFTER_ALL_NAMES : floorBucketStart(to);
    const { rows } = this.#rows.page('object', floorBucketStart(from), before, Number.MAX_SAFE_INTEGER);
    return rows.flatMap(({ name, value }) => decode(name, value) ?? []);
  }

  /**
   * Returns the rows that are only in memory because the database cannot be written now. It may have older
   * versions of them.
   */
  unsaved(): ObjectRow[] {
    return this.#rows.unsavedRows('object').flatMap(({ name, value }) => decode(name, value) ?? []);
  }

  /** Forgets these rows, except where the database has an older version of the row. */
  forgetUnsaved(rows: readonly ObjectRow[]): void {
    this.#rows.forgetUnsaved(
      'object',
      rows.map(({ name }) => name),
    );
  }
}

const NOTHING: StoredObject = { generation: 0, coherency: undefined, hasRow: false, bucket: undefined };

function decode(name: Uint8Array, value: Uint8Array): ObjectRow | undefined {
  if (value.byteLength < ROW_PREFIX_BYTES) return undefined;
  const view = viewOf(value);
  const generation = getU64(view, 0);
  if (generation === undefined) return undefined;
  const flags = value[8] ?? 0;
  const coherency =
    (flags & FLAG_COHERENCY) === 0
      ? undefined
      : { bytes: value.slice(ROW_PREFIX_BYTES), isChanging: (flags & FLAG_CHANGING) !== 0 };
  return {
    name,
    generation,
    coherency,
    hasRow: true,
    bucket: floorBucketOf(name),
    day: view.getUint16(10, true),
    ...idsOf(value),
  };
}
