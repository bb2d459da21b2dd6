/** Reads units, of one file or many, through the pipeline. One that cannot be read or opened is reported in its place. */
import { NetsealError } from '../../base/errors.ts';
import { type Id, idBytes } from '../../base/ids.ts';
import type { OpenedUnit } from '../../pipeline/requests.ts';
import { fetchAll, planFetches } from './fetch.ts';
import type { Pointer } from './pointer.ts';
import type { Sealing } from './sealing.ts';

export interface UnitToRead {
  readonly objectId: Id;
  readonly index: number;
  readonly unitSizeBytes: number;
  readonly pointer: Pointer;
  /** What the file's size allows at this place: longer is EFORMAT. Shorter is not: the rest reads as zeros. */
  readonly plainBytesMax: number;
}

/** What was read, in the order asked for, with the shared memory that it lies in. */
export interface ReadUnits {
  readonly units: readonly OpenedUnit[];
  /** The units' bytes must not be used afterwards. */
  release(): void;
}

/**
 * Fetches and opens units. Sealed with their gaps, and plain, they must fit in a quarter of the pipeline's memory each: EINVAL.
 *
 * Units' errors: EMISSING (the segment is gone), ETRUNCATED (it is too short), what the store throws, and what `Pipeline.open` reports. Rejects with the signal's reason, ECLOSED, EWORKER.
 */
export async function readUnits(
  sealing: Sealing,
  requests: readonly UnitToRead[],
  signal?: AbortSignal,
): Promise<ReadUnits> {
  if (requests.length === 0) return { units: [], release: () => undefined };
  const plan = planFetches(requests.map(({ pointer }) => pointer));
  const lease = await sealing.pipeline.reserveSealed(plan.totalBytes, { signal });
  try {
    const errors = await fetchAll(sealing.store, plan, lease.bytes, signal);
    const fetched = [...requests.entries()].filter(([at]) => !errors.has(at));
    if (fetched.length === 0) {
      const units = requests.map((_, at) => ({ error: errors.get(at) ?? notRead(at) }));
      return { units, release: () => undefined };
    }
    const units = fetched.map(([at, { pointer, objectId, index, unitSizeBytes, plainBytesMax }]) => ({
      kind: 'unit' as const,
      objectId: idBytes(pointer.origin?.objectId ?? objectId),
      index: pointer.origin?.index ?? index,
      unitSizeBytes,
      offsetBytes: plan.offsets[at] ?? 0,
      lengthBytes: pointer.lengthBytes,
      plainBytesMax,
      expectedTag: pointer.tag,
    }));
    const opened = await sealing.pipeline.open({ keys: sealing.keys, from: lease, units }, { signal });
    let order = 0;
    const results = requests.map((_, at): OpenedUnit => {
      const error = errors.get(at);
      return error === undefined ? (opened.units[order++] ?? { error: notRead(at) }) : { error };
    });
    return { units: results, release: () => opened.release() };
  } finally {
    lease.release();
  }
}

function notRead(at: number): NetsealError {
  return new NetsealError('EBUG', `request ${at} was not read`);
}
