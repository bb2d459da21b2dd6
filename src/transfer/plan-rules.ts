/** The rules that `put` and `get` share about what was named on their command line. */
import { isNetsealError, NetsealError, requireArgument } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { showName } from './local-names.ts';

/** EISDIR for a folder that nobody asked to go into. */
export function requireRecursive(isFolder: boolean, recursive: boolean, path: Name): void {
  if (isFolder && !recursive) {
    throw new NetsealError('EISDIR', `${showName(path)} is a folder: add -r to copy all of it`);
  }
}

/** EINVAL when two sources would become one file. @param keys a folder and a name each, as one string. */
export function requireDistinct(keys: readonly string[]): void {
  requireArgument(
    new Set(keys).size === keys.length,
    'two of the sources have the same name: copy them one by one',
  );
}

/** Whether an error says that there is nothing of that name, or something on the way to it is no folder. */
export function isNowhere(error: unknown): boolean {
  return isNetsealError(error) && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
