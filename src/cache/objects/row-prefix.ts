/**
 * The prefix that rows of objects and of cookies begin with, 44 bytes. Both have the ids at the same place,
 * so that a sweep can tell whose a row is from its value. The first 12 bytes are laid out by each kind:
 * `object-rows.ts`, `cookies.ts`.
 *
 *    0  12  the kind's own, with the day of the last change
 *   12  16  volume id
 *   28  16  object id
 */
import { ID_BYTES } from '../../base/ids.ts';

export const ROW_PREFIX_BYTES = 44;
const VOLUME_AT = 12;
const OBJECT_AT: number = VOLUME_AT + ID_BYTES;
const DAY_MS = 86_400_000;

/** Returns a prefix with the ids in it. The caller fills in the first 12 bytes. */
export function newRowPrefix(volumeId: Uint8Array, objectId: Uint8Array): Uint8Array<ArrayBuffer> {
  const prefix = new Uint8Array(ROW_PREFIX_BYTES);
  prefix.set(volumeId, VOLUME_AT);
  prefix.set(objectId, OBJECT_AT);
  return prefix;
}

/** Returns copies of the ids in a row's value. */
export function idsOf(value: Uint8Array): { readonly volumeId: Uint8Array; readonly objectId: Uint8Array } {
  return { volumeId: value.slice(VOLUME_AT, OBJECT_AT), objectId: value.slice(OBJECT_AT, ROW_PREFIX_BYTES) };
}

/**
 * Returns the day since 1970, from 0 to 65,535. Clocks may jump: use it to sort rows by age, and for nothing
 * else.
 */
export function dayOf(nowMs: number): number {
  return Math.min(0xffff, Math.max(0, Math.floor(nowMs / DAY_MS)));
}
