/**
 * Volumes and objects of a cache as they are named on the command line: by their ids, or by the first digits
 * of an id.
 */
import { fromHex, toHex } from '../../base/bytes.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import type { Cache } from '../../cache/cache.ts';
import type { CacheVolume } from '../../cache/cache-volume.ts';

const DIGITS = 32;
const DIGITS_MIN = 4;

export const ID_NOTES = `
VOLUME and OBJECT are ids of 32 hexadecimal digits. The first digits are enough,
at least 4, when only one id begins with them.`;

/** Returns the digits in lower case. EINVAL unless they could begin an id. */
export function parseIdStart(text: string, what: 'volume' | 'object'): string {
  const digits = text.toLowerCase();
  requireArgument(
    /^[0-9a-f]+$/.test(digits) && digits.length >= DIGITS_MIN && digits.length <= DIGITS,
    `not the id of ${what === 'object' ? 'an' : 'a'} ${what}: "${text}"; give ${DIGITS_MIN} to ${DIGITS} hexadecimal digits, as "netseal cache ls" shows them`,
  );
  return digits;
}

/**
 * Returns the volume that the text names. ENOENT when there is none, EINVAL when there are several.
 *
 * @param mayBeNew whether a whole id may name a volume that the cache does not know yet.
 */
export function findVolume(cache: Cache, text: string, mayBeNew = false): CacheVolume {
  const start = parseIdStart(text, 'volume');
  const found = cache.volumeIds().filter(id => toHex(id).startsWith(start));
  const [id] = found;
  if (id === undefined && mayBeNew && start.length === DIGITS) return cache.volume(fromHex(start));
  if (id === undefined) {
    throw new NetsealError('ENOENT', `the cache knows no volume ${start}; see "netseal cache ls"`);
  }
  requireArgument(found.length === 1, `${found.length} volumes begin with ${start}: give more of the id`);
  return cache.volume(id);
}

/**
 * Returns the id of the object that the text names. A whole id is returned as it is, even when the cache
 * knows no such object. ENOENT and EINVAL as {@link findVolume}.
 */
export async function findObject(
  cache: Cache,
  volume: CacheVolume,
  text: string,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const start = parseIdStart(text, 'object');
  if (start.length === DIGITS) return fromHex(start);
  const ids = new Set<string>();
  for (const { volumeId, objectId } of cache.pins()) {
    const isOurs = objectId !== undefined && Buffer.compare(volumeId, volume.id) === 0;
    if (isOurs && toHex(objectId).startsWith(start)) ids.add(toHex(objectId));
  }
  for await (const { objectId } of cache.objects(volume.id, { idStart: start, atOnce: 2, signal })) {
    ids.add(toHex(objectId));
    if (ids.size > 1) break;
  }
  const [id] = ids;
  if (id === undefined) {
    throw new NetsealError(
      'ENOENT',
      `the cache has no object ${start} of volume ${toHex(volume.id)}; see "netseal cache ls"`,
    );
  }
  requireArgument(ids.size === 1, `several objects begin with ${start}: give more of the id`);
  return fromHex(id);
}
