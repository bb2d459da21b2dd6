/** The keys of a volume's objects in the store. */
import { type Id, isId } from '../../base/ids.ts';

/** Prefixes of keys. An id follows. */
export const SEGMENT_PREFIX = 's/';
export const INODE_PREFIX = 'i/';
export const HEAD_PREFIX = 'heads/';
export const CANDIDATES_PREFIX = 'gc/';
export const ORDER_PREFIX = 'gc/orders/';
/** The key of the volume header. */
export const HEADER_KEY = 'volume';

export function segmentKey(id: Id): string {
  return SEGMENT_PREFIX + id;
}

export function inodeKey(id: Id): string {
  return INODE_PREFIX + id;
}

/** Returns the id that follows `prefix` in `key`; undefined for any other key, which is not ours. */
export function idOfKey(key: string, prefix: string): Id | undefined {
  const id = key.slice(prefix.length);
  return key.startsWith(prefix) && isId(id) ? id : undefined;
}
