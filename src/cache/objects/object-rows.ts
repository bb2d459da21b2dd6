/**
 * What the database keeps of objects, in rows that come and go.
 *
 *    0   8  generation
 *    8   1  flags: 1 has coherency data, 2 its data was about to change
 *    9   1  zero
 *   10   2  day of its last use, since 1970
 *   12  16  volume id
 *   28  16  object id
 *   44      coherency data
 *
 * A row says under which generation an object's units are found. Generations are random: none comes twice. An object without a row
 * has the floor of its volume for the bucket of its row's name; 0 where none was raised. So rows can go: the floor of their bucket is
 * raised first, to a number that no object ever had, and what was invalidated stays so. That also drops the units of those objects
 * of the volume and bucket that never had a row, unless they are given one before, as all pinned, dirty and recent ones are.
 */
import { concatBytes, getU64, setU64, viewOf } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import { ID_BYTES } from '../../base/ids.ts';
import type { Fingerprinter } from '../index/fingerprints.ts';
import { AFTER_ALL_NAMES, type RowChange } from '../rows/row.ts';
import type { Rows } from '../rows/rows.ts';
import { FLOOR_COUNT, floorBucketOf, floorBucketStart, newGeneration, type VolumeState } from './volumes.ts';

export const COHERENCY_BYTES_MAX = 1024;
const ROW_PREFIX_BYTES = 44;
const FLAG_COHERENCY = 1;
const FLAG_CHANGING = 2;
const DAY_MS = 86_400_000;

export interface Coherency {
  readonly bytes: Uint8Array;
  readonly isChanging: boolean;
}

export interface StoredObject {
  readonly generation: number;
  readonly coherency: Coherency | undefined;
  readonly hasRow: boolean;
  /** Of its row's name, if it was looked up. */
  readonly bucket: number | undefined;
}

/** A row as the sweep sees it. */
export interface ObjectRow extends StoredObject {
  readonly name: Uint8Array;
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  readonly day: number;
}

/** What a row is written from. */
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

  /** An object of which the row cannot be read has a new generation each time it is looked up. */
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

  /** @param coherency undefined for none. @param isDurable see `Rows.put`. */
  save(object: ObjectToSave, coherency: Coherency | undefined, isDurable = false): boolean {
    const { name, value } = this.rowOf(object, coherency);
    return this.#rows.put('object', name, value, isDurable);
  }

  /** What {@link save} writes. */
  rowOf(
    { volume, id, generation }: ObjectToSave,
    coherency?: Coherency,
  ): RowChange & { readonly value: Uint8Array } {
    const lengthBytes = coherency?.bytes.byteLength ?? 0;
    requireArgument(
      lengthBytes <= COHERENCY_BYTES_MAX,
      `coherency data must be at most ${COHERENCY_BYTES_MAX} bytes, not ${lengthBytes}`,
    );
    const head = new Uint8Array(ROW_PREFIX_BYTES);
    const view = viewOf(head);
    setU64(view, 0, generation);
    head[8] =
      (coherency === undefined ? 0 : FLAG_COHERENCY) | (coherency?.isChanging === true ? FLAG_CHANGING : 0);
    view.setUint16(10, dayOf(this.#nowMs()), true);
    head.set(volume.id, 12);
    head.set(id, 28);
    const value = concatBytes(head, coherency?.bytes ?? new Uint8Array(0));
    return { kind: 'object', name: this.name(volume, id), value };
  }

  /** The rows of buckets from `from` to `to`; those that cannot be read are left out, and stay. */
  rowsOf(from: number, to: number): ObjectRow[] {
    const before = to >= FLOOR_COUNT ? AFTER_ALL_NAMES : floorBucketStart(to);
    const { rows } = this.#rows.page('object', floorBucketStart(from), before, Number.MAX_SAFE_INTEGER);
    return rows.flatMap(({ name, value }) => decode(name, value) ?? []);
  }

  /** Rows that are only in memory, as the database cannot be written now; what older version it may have of them is not looked at. */
  unsaved(): ObjectRow[] {
    return this.#rows.unsavedRows('object').flatMap(({ name, value }) => decode(name, value) ?? []);
  }

  /** Forgets those of them of which the database has no older version. */
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
    volumeId: value.slice(12, 12 + ID_BYTES),
    objectId: value.slice(28, 28 + ID_BYTES),
  };
}

/** Clocks may jump: it is good for an order, and no more. */
export function dayOf(nowMs: number): number {
  return Math.min(0xffff, Math.max(0, Math.floor(nowMs / DAY_MS)));
}
