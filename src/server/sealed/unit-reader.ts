/**
 * Reads units, of one file or many, through the pipeline. For a unit that cannot be read, its error stands in
 * its place.
 */
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
  /**
   * How long the unit may be, by the file's size. Longer is EFORMAT. A shorter unit is valid: the rest reads
   * as zeros.
   */
  readonly plainBytesMax: number;
}

/** The units that were read, in the order of the request, with the shared memory that they lie in. */
export interface ReadUnits {
  readonly units: readonly OpenedUnit[];
  /** Gives the memory back. The units' bytes must not be used afterwards. */
  release(): void;
}

/**
 * Fetches and opens units.
 *
 * Rejects with EINVAL unless the sealed units with the gaps between them, and the plain units, fit into a
 * quarter of the pipeline's memory each; with ECLOSED, EWORKER, or the signal's reason.
 *
 * The error of a single unit is EMISSING (the segment is gone), ETRUNCATED (it is too short), an error of the
 * store, or one that `Pipeline.open` reports.
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
