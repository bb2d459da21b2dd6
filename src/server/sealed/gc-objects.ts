/**
 * Candidate lists as objects of the store. `docs/GC.md` says what they are for.
 *
 *   gc/<id>          a list of what one pass found unreferenced
 *   gc/orders/<id>   an order: a list of what a pass is about to delete
 */
import { NetsealError } from '../../base/errors.ts';
import { UNIT_BYTES_MAX } from '../../base/geometry.ts';
import type { Id } from '../../base/ids.ts';
import { peekHeader } from '../../unit/record-format.ts';
import { listAll } from '../list-all.ts';
import { type CandidateList, decodeCandidateList, encodeCandidateList } from './gc-format.ts';
import { type CANDIDATES_PREFIX, idOfKey, type ORDER_PREFIX } from './object-keys.ts';
import type { Sealing } from './sealing.ts';

type StoreAndKeys = Pick<Sealing, 'store' | 'control'>;

/** Returns the ids of the lists under {@link CANDIDATES_PREFIX} or {@link ORDER_PREFIX}. */
export async function candidateListIds(
  { store }: StoreAndKeys,
  prefix: typeof CANDIDATES_PREFIX | typeof ORDER_PREFIX,
  signal?: AbortSignal,
): Promise<Id[]> {
  const ids: Id[] = [];
  for await (const { key } of listAll(store, prefix, signal)) {
    const id = idOfKey(key, prefix);
    if (id !== undefined) ids.push(id);
  }
  return ids;
}

/** Seals and puts a list. Errors: the store's. */
export async function putCandidateList(
  { store, control }: StoreAndKeys,
  key: string,
  id: Id,
  list: CandidateList,
  signal?: AbortSignal,
): Promise<void> {
  const parts = encodeCandidateList(list).map(
    (plain, index) => control.seal({ kind: 'gcCandidates', objectId: id, index }, plain).bytes,
  );
  await store.put(key, parts, { bytesAreUnique: true, signal });
}

/** Reads a list. Errors: EMISSING; EFORMAT, EAUTH, ETRUNCATED when it is damaged; the store's. */
export async function readCandidateList(
  { store, control }: StoreAndKeys,
  key: string,
  id: Id,
  signal?: AbortSignal,
): Promise<CandidateList> {
  const { bytes } = await store.get(key, { signal });
  const segments = new Map<Id, number>();
  const inodes = new Map<Id, number>();
  let offset = 0;
  for (let index = 0; ; index += 1) {
    const rest = bytes.subarray(offset);
    const { sealedLengthBytes } = peekHeader(rest);
    const sealed = rest.subarray(0, sealedLengthBytes);
    const { list, hasMore } = decodeCandidateList(
      control.open({ kind: 'gcCandidates', objectId: id, index }, sealed, UNIT_BYTES_MAX),
    );
    for (const [segment, modifiedAtMs] of list.segments) segments.set(segment, modifiedAtMs);
    for (const [inode, modifiedAtMs] of list.inodes) inodes.set(inode, modifiedAtMs);
    offset += sealed.byteLength;
    if (hasMore) continue;
    if (offset < bytes.byteLength) throw new NetsealError('EFORMAT', `${key}: bytes after its last record`);
    return { timeMs: list.timeMs, segments, inodes };
  }
}
