/** How callers name units of a volume, and which object each of them belongs to. */
import { requireInteger, requireList, requireObject } from '../../base/arguments.ts';
import type { ObjectState, Objects, VolumeState } from './objects.ts';

/** Names one unit of a volume. */
export interface UnitPlace {
  /** 16 bytes. Consecutive units of one object are cheapest when they share one array. */
  readonly objectId: Uint8Array;
  /** A safe integer from 0. */
  readonly index: number;
}

export interface UnitToPut extends UnitPlace {
  /** One whole sealed record, at any offset of any memory, shared or not. Its last 16 bytes are its tag. */
  readonly bytes: Uint8Array;
}

/**
 * Finds the object of each unit. EINVAL for an index that is no safe integer from 0, or an id of another
 * length.
 */
export function withObjects<Unit extends UnitPlace>(
  objects: Objects,
  volume: VolumeState,
  units: readonly Unit[],
): { readonly unit: Unit; readonly object: ObjectState }[] {
  let lastId: Uint8Array | undefined;
  let object: ObjectState | undefined;
  requireList('units', units);
  return units.map(unit => {
    requireObject('a unit', unit);
    const { index, objectId } = unit;
    requireInteger('unit index', index);
    // Looking an object up costs a hash: units that follow one another mostly share the array of its id.
    if (object === undefined || objectId !== lastId) object = objects.object(volume, objectId);
    lastId = objectId;
    return { unit, object };
  });
}
