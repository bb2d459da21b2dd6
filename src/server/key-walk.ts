/** Finds keys among the names of files and folders, as {@link KeyNames} writes them. */
import type { KeyNames } from './key-names.ts';
import { compareKeys, keyProblem, type ListOptions } from './store.ts';

/** A file or folder, by its name in the folder that it lies in. */
export interface NamedItem {
  readonly name: string;
}

/**
 * Finds the keys that a list asks for. Returns each with its item.
 *
 * @param itemsIn returns what lies in a folder; nothing for a folder that is not there.
 */
export async function findKeys<Item extends NamedItem>(
  names: KeyNames,
  itemsIn: (folders: readonly string[]) => Promise<readonly Item[]>,
  { prefix = '', after, signal }: Omit<ListOptions, 'limit'>,
): Promise<Map<string, Item>> {
  const found = new Map<string, Item>();
  // Segments that are not valid have no folders.
  const segments = prefix.split('/').slice(0, -1);
  if (segments.length > 0 && keyProblem(segments.join('/')) !== undefined) return found;
  const pending: (readonly string[])[] = [names.segmentsToFolders(segments)];
  for (let folders = pending.pop(); folders !== undefined; folders = pending.pop()) {
    signal?.throwIfAborted();
    for (const item of await itemsIn(folders)) {
      const { name } = item;
      if (name.endsWith('+')) {
        const below = [...folders, name];
        if (mayHold(names, below, prefix, after)) pending.push(below);
        continue;
      }
      const key = names.pathToKey({ folders, file: name });
      if (key === undefined || keyProblem(key) !== undefined || !key.startsWith(prefix)) continue;
      if (after === undefined || compareKeys(key, after) > 0) found.set(key, item);
    }
  }
  return found;
}

/** True when keys in this folder can begin with `prefix` and come after `after`. */
function mayHold(
  names: KeyNames,
  folders: readonly string[],
  prefix: string,
  after: string | undefined,
): boolean {
  if (folders.at(-1)?.endsWith('++') === true) return true;
  const first = names.pathToKey({ folders, file: '0' })?.slice(0, -1);
  if (first === undefined) return false;
  if (!first.startsWith(prefix) && !prefix.startsWith(first)) return false;
  return after === undefined || after.startsWith(first) || compareKeys(first, after) > 0;
}

/** Sorts keys by their bytes, in place. */
export function sortKeys(keys: string[]): string[] {
  // The built-in order is many times faster. It is the same for characters up to U+D7FF.
  return keys.some(key => /[\ud800-\uffff]/.test(key)) ? keys.sort(compareKeys) : keys.sort();
}
