/** Lists the keys of a directory store: from the names of its files, without opening any. */
import { lstat, readdir } from 'node:fs';
import { promisify } from 'node:util';
import { systemCodeOf } from '../base/errors.ts';
import type { FolderCache } from './directory-folders.ts';
import { DIRECTORY_NAMES } from './directory-names.ts';
import { findKeys, type NamedItem } from './key-walk.ts';
import { OBJECT_HEADER_BYTES } from './object-frame.ts';
import type { ListEntry, ListOptions } from './store.ts';

const lstatAsync = promisify(lstat);
const readdirAsync = promisify(readdir);

/** Finds the keys that a list asks for. Returns each with the folders it lies in. */
export async function findStoredKeys(
  cache: FolderCache,
  options: ListOptions,
): Promise<Map<string, readonly string[]>> {
  const found = await findKeys(DIRECTORY_NAMES, folders => namesIn(cache, folders), options);
  return new Map([...found].map(([key, { folders }]) => [key, folders]));
}

async function namesIn(
  cache: FolderCache,
  folders: readonly string[],
): Promise<(NamedItem & { readonly folders: readonly string[] })[]> {
  try {
    const names = await cache.use(folders, { create: false, durable: false }, folder =>
      readdirAsync(folder.path),
    );
    return names.map(name => ({ name, folders }));
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
    const { file } = DIRECTORY_NAMES.keyToPath(key);
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
