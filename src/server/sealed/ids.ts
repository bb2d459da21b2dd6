/** Ids of objects and segments, and the store's keys for them. */
import { fromHex, toHex } from '../../base/bytes.ts';
import { requireArgument } from '../../base/errors.ts';
import { systemRandom } from '../../base/random.ts';
import { ID_BYTES } from '../../keys/tree.ts';

/** 128 random bits, never used again, as 32 lower-case hexadecimal digits. */
export type Id = string;

export function randomId(): Id {
  if (poolOffset === pool.byteLength) {
    systemRandom(pool);
    poolOffset = 0;
  }
  poolOffset += ID_BYTES;
  return toHex(pool.subarray(poolOffset - ID_BYTES, poolOffset));
}

/** Random bytes for ids, which are no secret: one call of the system for many. Each is used once. */
const pool = new Uint8Array(256 * ID_BYTES);
let poolOffset: number = pool.byteLength;

/** 16 bytes that the caller owns. */
export function idBytes(id: Id): Uint8Array<ArrayBuffer> {
  return fromHex(id);
}

const ID_PATTERN = /^[0-9a-f]{32}$/;

/** EINVAL unless `text` is an id. */
export function checkId(text: string): void {
  requireArgument(
    ID_PATTERN.test(text),
    `not an id of 32 hexadecimal digits: ${JSON.stringify(text).slice(0, 80)}`,
  );
}

/** What the store's keys begin with. */
export const SEGMENT_PREFIX = 's/';
export const INODE_PREFIX = 'i/';
export const HEAD_PREFIX = 'heads/';
export const CANDIDATES_PREFIX = 'gc/';
export const ORDER_PREFIX = 'gc/orders/';
/** The volume header. */
export const HEADER_KEY = 'volume';

export function segmentKey(id: Id): string {
  return SEGMENT_PREFIX + id;
}

export function inodeKey(id: Id): string {
  return INODE_PREFIX + id;
}

/** The id in a key that begins with `prefix`; undefined when there is none: not an object of ours. */
export function idOfKey(key: string, prefix: string): Id | undefined {
  const id = key.slice(prefix.length);
  return key.startsWith(prefix) && ID_PATTERN.test(id) ? id : undefined;
}
