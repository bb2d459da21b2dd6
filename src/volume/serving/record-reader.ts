/** Reads sealed records as they lie: from segments that are still in memory, or from the store. */
import { copyBytes } from '../../base/bytes.ts';
import { isNetsealError, messageOf, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { type Fetch, fetchEach, planFetches } from '../../server/sealed/fetch.ts';
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
 * Reads records into memory, shared or not, which is the caller's again when the call has settled. Records
 * that lie close together in a segment are fetched together.
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
  const targets = new Map<Fetch, Uint8Array>();
  const { fetches } = planFetches(stored.map(({ pointer }) => pointer));
  const failed = await fetchEach(
    sealing.store,
    fetches,
    fetch => {
      const target = directTarget(fetch, stored, into) ?? new Uint8Array(fetch.endBytes - fetch.offsetBytes);
      targets.set(fetch, target);
      return target;
    },
    signal,
  );
  for (const [order, error] of failed) {
    const record = stored[order];
    if (record !== undefined) errors.set(record.at, error);
  }
  for (const [fetch, target] of targets)
    if (target.buffer !== into.buffer) copyOut(fetch, target, stored, into);
  return errors;
}

/** Returns the caller's memory for a stretch whose records belong there one after the other, as they lie. */
function directTarget(
  { offsetBytes, endBytes, members }: Fetch,
  records: readonly RecordToRead[],
  into: Uint8Array,
): Uint8Array | undefined {
  const start = records[members[0]?.at ?? 0]?.offsetBytes ?? 0;
  let next = offsetBytes;
  for (const { at } of members) {
    const record = records[at];
    if (record?.pointer.offsetBytes !== next || record.offsetBytes !== start + next - offsetBytes)
      return undefined;
    next += record.pointer.lengthBytes;
  }
  return next === endBytes ? into.subarray(start, start + endBytes - offsetBytes) : undefined;
}

/** Copies the records of a stretch to where they belong. */
function copyOut(
  { offsetBytes, members }: Fetch,
  stretch: Uint8Array,
  records: readonly RecordToRead[],
  into: Uint8Array,
): void {
  for (const { at } of members) {
    const record = records[at];
    if (record === undefined) continue;
    const { pointer } = record;
    const from = pointer.offsetBytes - offsetBytes;
    copyBytes(stretch.subarray(from, from + pointer.lengthBytes), into, record.offsetBytes);
  }
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
