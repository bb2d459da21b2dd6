/** Opens a local cache. Its errors name the folder, and say what to do. */
import { type ErrorCode, isNetsealError, NetsealError } from '../../base/errors.ts';
import type { CacheSettings } from '../../cache/base/settings.ts';
import type { Cache } from '../../cache/cache.ts';
import type { CacheComponents } from '../../cache/open.ts';
import { loadCache } from './lazy.ts';

/** Opens or makes a cache. Its errors name the folder, and say what to do. */
export async function openCacheIn(
  folder: string,
  settings: CacheSettings,
  components: CacheComponents,
): Promise<Cache> {
  const { openCache } = await loadCache();
  try {
    // A command ends too soon for background maintenance to be of use.
    return await openCache(folder, { ...settings, maintenanceMs: 0 }, components);
  } catch (error) {
    throw openingError(folder, error);
  }
}

/** Messages that say what to do. The cache's own errors say only what is wrong. */
const ADVICE: Partial<Record<ErrorCode, (folder: string, message: string) => string>> = {
  ENOENT: folder => `there is no cache in ${folder}; make one with "netseal cache init"`,
  EKEY: (folder, message) => `the cache in ${folder}: ${message}`,
  EUNSUPPORTED: (folder, message) => `the cache in ${folder}: ${message}`,
};
const DAMAGE_CODES: ReadonlySet<ErrorCode> = new Set(['EFORMAT', 'ETRUNCATED', 'EAUTH']);

/**
 * Returns an error of opening a cache with the folder in it, and what to do. Other errors are returned as
 * they are.
 */
export function openingError(folder: string, error: unknown): unknown {
  if (!isNetsealError(error)) return error;
  const { code, message } = error;
  const text = DAMAGE_CODES.has(code)
    ? `the header of the cache in ${folder} is damaged, and nothing in the cache can be opened without it: ${message}; put back a copy of its file "header", or remove the folder and make a new cache`
    : ADVICE[code]?.(folder, message);
  return text === undefined ? error : new NetsealError(code, text, { cause: error });
}
