/** The epoch under which an object was sealed. All records of one object are sealed under one epoch. */
import { HEADER_BYTES, peekHeader } from '../../unit/record-format.ts';
import type { Sealing } from './sealing.ts';

/**
 * Returns the epoch of a segment, an inode object, a head or a candidate list. It is in the clear, and not
 * authenticated. Throws EMISSING, EFORMAT, ETRUNCATED, EUNSUPPORTED, and the store's errors.
 */
export async function recordEpoch(
  { store }: Pick<Sealing, 'store'>,
  key: string,
  signal?: AbortSignal,
): Promise<number> {
  const range = { offsetBytes: 0, lengthBytes: HEADER_BYTES };
  return peekHeader((await store.get(key, { range, signal })).bytes).epoch;
}
