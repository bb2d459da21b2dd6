/** Fetches sealed records by their pointers: neighbours in a segment by one request. */
import { isNetsealError, messageOf, NetsealError } from '../../base/errors.ts';
import { KIB, MIB } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { ObjectStore } from '../store.ts';
import { segmentKey } from './object-keys.ts';
import type { Pointer } from './pointer.ts';

/** Gaps up to this, and up to twice what follows them, are fetched along: cheaper than a request. */
const GAP_BYTES_MAX: number = 64 * KIB;
/** Longer runs are cut, so that a lost answer costs little. */
const FETCH_BYTES_MAX: number = 4 * MIB;

/** One request. */
interface Fetch {
  readonly segment: Id;
  readonly offsetBytes: number;
  endBytes: number;
  /** Where its bytes go in the caller's memory. */
  targetOffset: number;
  /** Which of the pointers it serves, and where their records end in the segment. */
  readonly members: { readonly at: number; readonly endBytes: number }[];
}

export interface FetchPlan {
  readonly fetches: readonly Fetch[];
  /** The memory that it takes, gaps included. */
  readonly totalBytes: number;
  /** Where each pointer's record lies in that memory. */
  readonly offsets: readonly number[];
}

/** How to fetch these records, in any order and with any overlaps. */
export function planFetches(pointers: readonly Pointer[]): FetchPlan {
  const ordered = [...pointers.entries()].sort(([, a], [, b]) =>
    a.segment === b.segment ? a.offsetBytes - b.offsetBytes : a.segment < b.segment ? -1 : 1,
  );
  const fetches: Fetch[] = [];
  for (const [at, { segment, offsetBytes, lengthBytes }] of ordered) {
    const endBytes = offsetBytes + lengthBytes;
    const last = fetches.at(-1);
    if (last !== undefined && last.segment === segment && joins(last, offsetBytes, endBytes)) {
      last.endBytes = Math.max(last.endBytes, endBytes);
      last.members.push({ at, endBytes });
    } else {
      fetches.push({ segment, offsetBytes, endBytes, targetOffset: 0, members: [{ at, endBytes }] });
    }
  }
  const offsets: number[] = [];
  let totalBytes = 0;
  for (const fetch of fetches) {
    fetch.targetOffset = totalBytes;
    totalBytes += fetch.endBytes - fetch.offsetBytes;
    for (const { at } of fetch.members) {
      offsets[at] = fetch.targetOffset + (pointers[at]?.offsetBytes ?? 0) - fetch.offsetBytes;
    }
  }
  return { fetches, totalBytes, offsets };
}

function joins(last: Fetch, offsetBytes: number, endBytes: number): boolean {
  if (endBytes <= last.endBytes) return true;
  const gapBytesMax = Math.min(GAP_BYTES_MAX, 2 * (endBytes - offsetBytes));
  return offsetBytes - last.endBytes <= gapBytesMax && endBytes - last.offsetBytes <= FETCH_BYTES_MAX;
}

/**
 * Carries a plan out, all requests at once.
 *
 * @param into `plan.totalBytes` long, shared or not; nobody writes to it any more when the call has settled.
 * @returns what failed, by position of the pointer: EMISSING (the segment is gone), ETRUNCATED (it is too short), and what
 *   else the store throws. Rejects with the signal's reason.
 */
export async function fetchAll(
  store: ObjectStore,
  plan: FetchPlan,
  into: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<number, NetsealError>> {
  const errors = new Map<number, NetsealError>();
  const results = await Promise.allSettled(
    plan.fetches.map(async fetch => {
      const failed = await fetchOne(store, fetch, into, signal);
      if (failed === undefined) return;
      // What lies before the end of a segment that was cut short is as good as ever.
      for (const { at, endBytes } of fetch.members) {
        if (endBytes > failed.validTo) errors.set(at, failed.error);
      }
    }),
  );
  // Only now is the memory the caller's again.
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return errors;
}

async function fetchOne(
  store: ObjectStore,
  { segment, offsetBytes, endBytes, targetOffset }: Fetch,
  target: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<{ readonly error: NetsealError; readonly validTo: number } | undefined> {
  const lengthBytes = endBytes - offsetBytes;
  const into = target.subarray(targetOffset, targetOffset + lengthBytes);
  try {
    const got = await store.get(segmentKey(segment), { range: { offsetBytes, lengthBytes }, into, signal });
    if (got.bytes.byteLength === lengthBytes) return undefined;
    const error = new NetsealError(
      'ETRUNCATED',
      `segment ${segment} ends at byte ${got.sizeBytes}; bytes ${offsetBytes} to ${endBytes} are needed`,
    );
    return { error, validTo: offsetBytes + got.bytes.byteLength };
  } catch (cause) {
    signal?.throwIfAborted();
    if (!isNetsealError(cause)) throw cause;
    const error = new NetsealError(cause.code, `segment ${segment}: ${messageOf(cause)}`, { cause });
    return { error, validTo: 0 };
  }
}
