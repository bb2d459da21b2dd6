/** How callers name units of a volume, and which object each of them belongs to. */
import { requireInteger, requireList, requireObject, shownValue } from '../../base/arguments.ts';
import { requireArgument } from '../../base/errors.ts';
import type { ObjectState, Objects, VolumeState } from './objects.ts';

/**
 * The kinds of records that one object may have under the same indexes. In zones and fingerprints, each kind
 * has its own range of indexes: kind `n` begins at n * 2^48.
 */
const KIND_NUMBERS = { unit: 0, mapPage: 1, directoryLeaf: 2 } as const;
export type CachedKind = keyof typeof KIND_NUMBERS;
const KIND_STRIDE = 2 ** 48;
const KIND_NAMES = Object.keys(KIND_NUMBERS) as CachedKind[];

/** Names one unit of a volume. */
export interface UnitPlace {
  /** 16 bytes. Consecutive units of one object are cheapest when they share one array. */
  readonly objectId: Uint8Array;
  /** A safe integer from 0; for any kind but units, below 2^48. */
  readonly index: number;
  /** Default: a unit. Packs are units of objects of their own. */
  readonly kind?: CachedKind;
}

export interface UnitToPut extends UnitPlace {
  /** One whole sealed record, at any offset of any memory, shared or not. Its last 16 bytes are its tag. */
  readonly bytes: Uint8Array;
}

/** Returns the index that zones and fingerprints know a place by. EINVAL. */
export function storedIndexOf({ index, kind = 'unit' }: UnitPlace): number {
  requireInteger('unit index', index);
  if (kind === 'unit') return index;
  requireArgument(Object.hasOwn(KIND_NUMBERS, kind), `unknown kind ${shownValue(kind)} of a cached record`);
  requireInteger('index', index, 0, KIND_STRIDE - 1);
  return KIND_NUMBERS[kind] * KIND_STRIDE + index;
}

/** The inverse of {@link storedIndexOf}. */
export function placeOfStored(storedIndex: number): { readonly index: number; readonly kind: CachedKind } {
  const kind = KIND_NAMES[Math.floor(storedIndex / KIND_STRIDE)];
  if (kind === undefined) return { index: storedIndex, kind: 'unit' };
  return { index: storedIndex - KIND_NUMBERS[kind] * KIND_STRIDE, kind };
}

/**
 * Finds the object of each unit, and the index that it is stored under. EINVAL for an index that is no safe
 * integer from 0, or an id of another length.
 */
export function withObjects<Unit extends UnitPlace>(
  objects: Objects,
  volume: VolumeState,
  units: readonly Unit[],
): { readonly unit: Unit; readonly object: ObjectState; readonly index: number }[] {
  let lastId: Uint8Array | undefined;
  let object: ObjectState | undefined;
  requireList('units', units);
  return units.map(unit => {
    requireObject('a unit', unit);
    const { objectId } = unit;
    const index = storedIndexOf(unit);
    // Looking an object up costs a hash: units that follow one another mostly share the array of its id.
    if (object === undefined || objectId !== lastId) object = objects.object(volume, objectId);
    lastId = objectId;
    return { unit, object, index };
  });
}
