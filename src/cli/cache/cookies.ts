/** What people call an object of a cache. */
import type { CacheVolume } from '../../cache/cache-volume.ts';

/** Any bytes; undefined when nobody has named it. */
export function cookieKeyOf(volume: CacheVolume, objectId: Uint8Array): Uint8Array | undefined {
  return volume.cookie(objectId)?.key;
}
