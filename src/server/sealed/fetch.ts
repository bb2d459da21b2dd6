/**
 * Fetches sealed records by their pointers. One request fetches records that lie close together in a segment.
 */
import { isNetsealError, messageOf, NetsealError } from '../../base/errors.ts';
import { KIB, MIB } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import type { ObjectStore } from '../store.ts';
import { segmentKey } from './object-keys.ts';
import type { Pointer } from './pointer.ts';

/**
 * A gap up to this, and up to twice the next record, is fetched along: that is cheaper than another request.
 */
const GAP_BYTES_MAX: number = 64 * KIB;
/** The longest stretch that one request fetches, so that a lost answer costs little. */
const FETCH_BYTES_MAX: number = 4 * MIB;

/** A ranged get of one stretch of a segment. */
export interface Fetch {
  readonly segment: Id;
  readonly offsetBytes: number;
  endBytes: number;
  /** Where the stretch goes in the caller's memory. */
  targetOffset: number;
  /** The pointers whose records it fetches, by position, and where each record ends in the segment. */
  readonly members: { readonly at: number; readonly endBytes: number }[];
}

export interface FetchPlan {
  readonly fetches: readonly Fetch[];
  /** How much memory all stretches take, with their gaps. */
  readonly totalBytes: number;
  /** Where each pointer's record lies in that memory, by position of the pointer. */
  readonly offsets: readonly number[];
}

/** Plans how to fetch records. They may come in any order and overlap. */
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
 * Carries out a plan, all requests at once. Rejects with the signal's reason.
 *
 * @param into memory of `plan.totalBytes`, shared or not. It is the caller's again when the call has settled.
 * @returns the errors, by position of the pointer: EMISSING (the segment is gone), ETRUNCATED (it is too
 *   short), or an error of the store.
 */
export async function fetchAll(
  store: ObjectStore,
  plan: FetchPlan,
  into: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<number, NetsealError>> {
  const targetOf = ({ targetOffset, offsetBytes, endBytes }: Fetch): Uint8Array =>
    into.subarray(targetOffset, targetOffset + endBytes - offsetBytes);
  return await fetchEach(store, plan.fetches, targetOf, signal);
}

/** Does the same, each stretch into memory of its own, which is as long as the stretch. */
export async function fetchEach(
  store: ObjectStore,
  fetches: readonly Fetch[],
  targetOf: (fetch: Fetch) => Uint8Array,
  signal: AbortSignal | undefined,
): Promise<ReadonlyMap<number, NetsealError>> {
  const errors = new Map<number, NetsealError>();
  const results = await Promise.allSettled(
    fetches.map(async fetch => {
      const failed = await fetchOne(store, fetch, targetOf(fetch), signal);
      if (failed === undefined) return;
      // A segment that is cut short still serves the records before its end.
      for (const { at, endBytes } of fetch.members) {
        if (endBytes > failed.validTo) errors.set(at, failed.error);
      }
    }),
  );
  // Only after all requests have ended: one that is running may still write to the caller's memory.
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return errors;
}

async function fetchOne(
  store: ObjectStore,
  { segment, offsetBytes, endBytes }: Fetch,
  into: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<{ readonly error: NetsealError; readonly validTo: number } | undefined> {
  const lengthBytes = endBytes - offsetBytes;
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
