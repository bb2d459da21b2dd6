/** Finds the units that pinned objects still lack. Works in bounded steps and gives others their turn. */
import { giveTurn } from '../../base/turns.ts';
import type { Core } from '../core/core.ts';
import { fingerprintOf, newFingerprint } from '../index/fingerprints.ts';
import type { VolumeState } from '../objects/volumes.ts';

/** Units of a pinned object that the cache does not have. */
export interface MissingRange {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
  /** The first missing unit. Holes count as missing: the cache does not know of them. */
  readonly from: number;
  /** The unit after the last missing one. */
  readonly to: number;
}

/** After looking up so many units, others get their turn: some 2 ms. */
const STEP_UNITS = 8192;
/** Longer ranges come in parts, so that a caller who has seen enough can stop. */
const RANGE_UNITS_MAX = 2 ** 20;
const STEP_OBJECTS = 64;

/**
 * Lists the units that pinned objects still lack. Only objects whose unit count is known, from the pin or the
 * cookie, are looked at. Pins may change meanwhile. ECLOSED.
 */
export async function* findMissing(core: Core): AsyncGenerator<MissingRange> {
  const { objects } = core;
  let count = 0;
  for (const { volumeId, objectId, unitCount } of objects.pins.list()) {
    if (objectId === undefined) continue;
    count += 1;
    if (count % STEP_OBJECTS === 0) await turn(core);
    const volume = objects.volume(volumeId);
    yield* missingOf(core, volume, objectId, unitCount ?? objects.cookie(volume, objectId)?.unitCount);
  }
  for (const { volumeId, objectId } of objects.pins.byPrefix()) {
    const volume = objects.volume(volumeId);
    count += 1;
    if (count % STEP_OBJECTS === 0) await turn(core);
    if (objects.pins.get(volume, objectId) !== undefined) continue;
    yield* missingOf(core, volume, objectId, objects.cookie(volume, objectId)?.unitCount);
  }
}

async function* missingOf(
  core: Core,
  volume: VolumeState,
  objectId: Uint8Array,
  unitCount = 0,
): AsyncGenerator<MissingRange> {
  const { unitIndex, objects } = core;
  const fingerprint = newFingerprint();
  let from: number | undefined;
  for (let index = 0; index < unitCount; ) {
    // Asked for in each step: others may have invalidated the object during a turn.
    const { prefix } = objects.object(volume, objectId);
    const stepEnd = Math.min(unitCount, index + STEP_UNITS);
    for (; index < stepEnd; index += 1) {
      const isThere = unitIndex.find(fingerprintOf(prefix, index, fingerprint)) !== undefined;
      if (!isThere) from ??= index;
      if (from === undefined || (!isThere && index - from < RANGE_UNITS_MAX)) continue;
      yield { volumeId: volume.id, objectId, from, to: index };
      core.requireOpen();
      from = isThere ? undefined : index;
    }
    if (index < unitCount) await turn(core);
  }
  if (from === undefined) return;
  yield { volumeId: volume.id, objectId, from, to: unitCount };
  core.requireOpen();
}

async function turn(core: Core): Promise<void> {
  await giveTurn();
  core.requireOpen();
}
