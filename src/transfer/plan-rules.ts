/** The rules that `put` and `get` share for their sources and targets. */
import { isNetsealError, NetsealError, requireArgument } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { showName } from './local-names.ts';

/** EINVAL for a folder unless the copy is recursive. */
export function requireRecursive(isFolder: boolean, recursive: boolean, path: Name): void {
  if (isFolder && !recursive) {
    throw new NetsealError('EINVAL', `${showName(path)} is a folder: add -r to copy all of it`);
  }
}

/**
 * EINVAL when two sources would become one file.
 *
 * @param keys the place of each source: folder and name as one string.
 */
export function requireDistinct(keys: readonly string[]): void {
  requireArgument(
    new Set(keys).size === keys.length,
    'two of the sources have the same name: copy them one by one',
  );
}

/**
 * True when an error means that there is no such path: a name is missing, or something on the way is no
 * folder.
 */
export function isNowhere(error: unknown): boolean {
  return isNetsealError(error) && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
