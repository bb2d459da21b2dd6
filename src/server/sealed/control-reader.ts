/**
 * Reads control records (leaves, map pages) from segments. For one that cannot be read, its error stands in
 * its place.
 */
import { isNetsealError, type NetsealError } from '../../base/errors.ts';
import { MIB } from '../../base/geometry.ts';
import type { ControlAt } from './control.ts';
import { fetchAll, planFetches } from './fetch.ts';
import type { Pointer } from './pointer.ts';
import type { Sealing } from './sealing.ts';

export interface ControlToRead {
  readonly at: ControlAt;
  readonly pointer: Pointer;
}

/** The most plain bytes that a leaf or map page holds. */
export const NODE_BYTES_MAX: number = MIB;

/**
 * Fetches and opens records. Rejects with the signal's reason.
 *
 * @returns for each record, in the order of the request, its plain bytes, which the caller owns, or an error:
 *   EMISSING, ETRUNCATED, an error of the store, or an error of {@link ControlSealer.open}.
 */
export async function readControl(
  { store, control }: Sealing,
  requests: readonly ControlToRead[],
  signal?: AbortSignal,
): Promise<(Uint8Array | NetsealError)[]> {
  const plan = planFetches(requests.map(({ pointer }) => pointer));
  const sealed = new Uint8Array(plan.totalBytes);
  const errors = await fetchAll(store, plan, sealed, signal);
  return requests.map(({ at, pointer }, order) => {
    const error = errors.get(order);
    if (error !== undefined) return error;
    const offset = plan.offsets[order] ?? 0;
    const record = sealed.subarray(offset, offset + pointer.lengthBytes);
    const { objectId, index } = pointer.origin ?? at;
    try {
      return control.open({ kind: at.kind, objectId, index }, record, NODE_BYTES_MAX, pointer.tag);
    } catch (failure) {
      if (isNetsealError(failure)) return failure;
      throw failure;
    }
  });
}
