/** Which entries a new file, link or special file may replace. */
import { NetsealError } from '../../base/errors.ts';
import type { DirectoryEntry } from '../../server/sealed/inode.ts';
import { typeOfEntry } from './references.ts';

/** Throws EISDIR for a directory, EEXIST for anything else unless `replace` is set. */
export function requireReplaceable(entry: DirectoryEntry, replace: boolean): void {
  const failure = whyNotReplaceable(entry, replace);
  if (failure !== undefined) throw failure;
}

/** Does the same as {@link requireReplaceable}, but returns the error; undefined for none. */
export function whyNotReplaceable(entry: DirectoryEntry, replace: boolean): NetsealError | undefined {
  if (typeOfEntry(entry) === 'directory') return new NetsealError('EISDIR', 'a folder already has this name');
  return replace ? undefined : alreadyThere();
}

export function alreadyThere(): NetsealError {
  return new NetsealError('EEXIST', 'this name is already taken');
}
