/** Reads sealed records as they lie: from segments that are still in memory, or from the store. */
import { copyBytes } from '../../base/bytes.ts';
import { isNetsealError, messageOf, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { fetchAll, planFetches } from '../../server/sealed/fetch.ts';
import type { Pointer } from '../../server/sealed/pointer.ts';
import type { SegmentWriter } from '../../server/sealed/segment-writer.ts';
import type { Session } from '../session/session.ts';

/** A record to read, and where it goes. */
export interface RecordToRead {
  readonly pointer: Pointer;
  /** Offset in the caller's memory. */
  readonly offsetBytes: number;
}

/**
 * Reads records into memory, shared or not, which is the caller's again when the call has settled. Records that
 * lie close together in a segment are fetched together.
 *
 * @returns the errors by position, as `fetchAll` does. Rejects with the signal's reason.
 */
export async function readRecords(
  { sealing, dataSegments }: Pick<Session, 'sealing' | 'dataSegments'>,
  records: readonly RecordToRead[],
  into: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Map<number, NetsealError>> {
  signal?.throwIfAborted();
  const stored: (RecordToRead & { readonly at: number })[] = [];
  const lost: [number, Id][] = [];
  for (const [at, record] of records.entries()) {
    const { pointer, offsetBytes } = record;
    const target = into.subarray(offsetBytes, offsetBytes + pointer.lengthBytes);
    if (dataSegments.copyHeld(pointer, target)) continue;
    if (dataSegments.isUnstored(pointer.segment)) lost.push([at, pointer.segment]);
    else stored.push({ ...record, at });
  }
  const errors = new Map<number, NetsealError>();
  for (const [at, segment] of lost) errors.set(at, await uploadError(dataSegments, segment));
  const [first] = stored;
  if (first === undefined) return errors;
  const plan = planFetches(stored.map(({ pointer }) => pointer));
  const shiftBytes = first.offsetBytes - (plan.offsets[0] ?? 0);
  // What comes in the order and without the gaps of the caller's memory goes there directly.
  const isDirect =
    plan.totalBytes === stored.reduce((sum, { pointer }) => sum + pointer.lengthBytes, 0) &&
    stored.every(({ offsetBytes }, at) => offsetBytes - (plan.offsets[at] ?? 0) === shiftBytes);
  const fetched = isDirect
    ? into.subarray(shiftBytes, shiftBytes + plan.totalBytes)
    : new Uint8Array(plan.totalBytes);
  const failed = await fetchAll(sealing.store, plan, fetched, signal);
  for (const [order, { at, pointer, offsetBytes }] of stored.entries()) {
    const error = failed.get(order);
    const from = plan.offsets[order] ?? 0;
    if (error !== undefined) errors.set(at, error);
    else if (!isDirect) copyBytes(fetched.subarray(from, from + pointer.lengthBytes), into, offsetBytes);
  }
  return errors;
}

/** Returns the error that the upload of a segment has failed with. */
async function uploadError(segments: SegmentWriter, segment: Id): Promise<NetsealError> {
  try {
    await segments.durable(segment);
  } catch (cause) {
    if (isNetsealError(cause)) return cause;
    return new NetsealError('EIO', messageOf(cause), { cause });
  }
  return new NetsealError('EBUG', `segment ${segment} is stored after all`);
}
