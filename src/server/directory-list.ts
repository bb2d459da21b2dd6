/** Lists the keys of a directory store: from the names of its files, without opening any. */
import { lstat, readdir } from 'node:fs';
import { promisify } from 'node:util';
import { systemCodeOf } from '../base/errors.ts';
import type { FolderCache } from './directory-folders.ts';
import { keyToPath, pathToKey, segmentsToFolders } from './directory-names.ts';
import { OBJECT_HEADER_BYTES } from './object-frame.ts';
import { compareKeys, keyProblem, type ListEntry, type ListOptions } from './store.ts';

const lstatAsync = promisify(lstat);
const readdirAsync = promisify(readdir);

/** Finds the keys that a list asks for. Returns each with the folders it lies in. */
export async function findKeys(
  cache: FolderCache,
  { prefix = '', after, signal }: ListOptions,
): Promise<Map<string, readonly string[]>> {
  const found = new Map<string, readonly string[]>();
  // Segments that are not valid have no folders.
  const segments = prefix.split('/').slice(0, -1);
  if (segments.length > 0 && keyProblem(segments.join('/')) !== undefined) return found;
  const pending: (readonly string[])[] = [segmentsToFolders(segments)];
  for (let folders = pending.pop(); folders !== undefined; folders = pending.pop()) {
    signal?.throwIfAborted();
    for (const name of await namesIn(cache, folders)) {
      if (name.endsWith('+')) {
        const below = [...folders, name];
        if (mayHold(below, prefix, after)) pending.push(below);
        continue;
      }
      const key = pathToKey({ folders, file: name });
      if (key === undefined || keyProblem(key) !== undefined || !key.startsWith(prefix)) continue;
      if (after === undefined || compareKeys(key, after) > 0) found.set(key, folders);
    }
  }
  return found;
}

async function namesIn(cache: FolderCache, folders: readonly string[]): Promise<string[]> {
  try {
    return await cache.use(folders, { create: false, durable: false }, folder => readdirAsync(folder.path));
  } catch (error) {
    // Removed meanwhile, or not a folder of the store.
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCodeOf(error) ?? '')) return [];
    throw error;
  }
}

/** Returns the list entry of a key. Undefined when its file is no object, or has gone. */
export async function entryOf(
  cache: FolderCache,
  key: string,
  folders: readonly string[],
): Promise<ListEntry | undefined> {
  try {
    const { file } = keyToPath(key);
    const stats = await cache.use(folders, { create: false, durable: false }, folder =>
      lstatAsync(`${folder.path}/${file}`),
    );
    const sizeBytes = stats.size - OBJECT_HEADER_BYTES;
    if (!stats.isFile() || sizeBytes < 0) return undefined;
    return { key, sizeBytes, modifiedAtMs: Math.floor(stats.mtimeMs) };
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** True when keys in this folder can begin with `prefix` and come after `after`. */
function mayHold(folders: readonly string[], prefix: string, after: string | undefined): boolean {
  if (folders.at(-1)?.endsWith('++') === true) return true;
  const first = pathToKey({ folders, file: '0' })?.slice(0, -1);
  if (first === undefined) return false;
  if (!first.startsWith(prefix) && !prefix.startsWith(first)) return false;
  return after === undefined || after.startsWith(first) || compareKeys(first, after) > 0;
}

/** Sorts keys by their bytes, in place. */
export function sortKeys(keys: string[]): string[] {
  // The built-in order is many times faster. It is the same for characters up to U+D7FF.
  return keys.some(key => /[\ud800-\uffff]/.test(key)) ? keys.sort(compareKeys) : keys.sort();
}
