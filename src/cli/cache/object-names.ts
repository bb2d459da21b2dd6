/**
 * Names of the objects in a cache, for people: the cookie that the client gave an object, which may be any
 * bytes.
 */
import { toHex } from '../../base/bytes.ts';
import type { Cache } from '../../cache/cache.ts';
import { showName } from '../../transfer/local-names.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import { nameFields } from '../lib/json.ts';

export interface ObjectIds {
  readonly volumeId: Uint8Array;
  readonly objectId: Uint8Array;
}

/** Returns the name of an object as bytes. Undefined when its client gave it none. */
export function cookieOf(cache: Cache, { volumeId, objectId }: ObjectIds): Uint8Array | undefined {
  return cache.volume(volumeId).cookie(objectId)?.key;
}

/** Returns the id of an object, and its name in parentheses if it has one. */
export function showObject(cache: Cache, ids: ObjectIds): string {
  const cookie = cookieOf(cache, ids);
  return `${toHex(ids.objectId)}${cookie === undefined ? '' : ` (${showName(toBytesName(cookie))})`}`;
}

/** Returns the ids of an object and its name as fields for JSON. */
export function objectFields(cache: Cache, ids: ObjectIds): Record<string, string> {
  return {
    volume: toHex(ids.volumeId),
    object: toHex(ids.objectId),
    ...cookieFields(cookieOf(cache, ids)),
  };
}

/** Returns no field when there is no cookie. */
export function cookieFields(cookie: Uint8Array | undefined): Record<string, string> {
  return cookie === undefined ? {} : nameFields('cookie', toBytesName(cookie));
}
