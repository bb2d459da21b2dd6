/**
 * Ids of volumes, objects, segments and sessions.
 *
 * Where ids are map keys or parts of names they are text ({@link Id}); in records and in the cache they are
 * 16 bytes. {@link idBytes} and `toHex` convert.
 */
import { shownValue } from './arguments.ts';
import { fromHex, toHex } from './bytes.ts';
import { requireArgument } from './errors.ts';
import { systemRandom } from './random.ts';

/** Length of volume, object, segment and slot ids. */
export const ID_BYTES = 16;

/** 128 random bits, never used again, as 32 lower-case hexadecimal digits. */
export type Id = string;

/** Random bytes for ids, which are no secret: one system call serves many ids. Each byte is used once. */
const pool = new Uint8Array(256 * ID_BYTES);
let poolOffset: number = pool.byteLength;

/** Returns a new id, from the system's random generator. */
export function randomId(): Id {
  if (poolOffset === pool.byteLength) {
    systemRandom(pool);
    poolOffset = 0;
  }
  poolOffset += ID_BYTES;
  return toHex(pool.subarray(poolOffset - ID_BYTES, poolOffset));
}

/** Returns the id's 16 bytes. The caller owns them. */
export function idBytes(id: Id): Uint8Array<ArrayBuffer> {
  return fromHex(id);
}

const ID_PATTERN = /^[0-9a-f]{32}$/;

/** True for 32 lower-case hexadecimal digits. */
export function isId(text: string): boolean {
  return ID_PATTERN.test(text);
}

/** EINVAL unless `text` is an id. */
export function checkId(text: string): void {
  requireArgument(
    typeof text === 'string' && isId(text),
    `not an id of 32 hexadecimal digits: ${shownValue(text)}`,
  );
}
