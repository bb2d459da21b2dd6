/** Removes folders that a command made before it failed. A folder that holds any file stays. */
import { lstat, readdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isSystemError } from '../../base/errors.ts';

/** Returns those of the path and the folders above it that are missing, the deepest first. */
export async function missingFolders(path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let at = path; ; at = dirname(at)) {
    if (await isThere(at)) return missing;
    missing.push(at);
    if (dirname(at) === at) return missing;
  }
}

/** Returns the names in a folder; none when there is no such folder. */
export async function namesIn(folder: string): Promise<string[]> {
  return await orElse([], readdir(folder));
}

/** Removes the folders, in this order, up to the first that is not empty. */
export async function removeFolders(folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    const isGone = await orElse(
      false,
      rmdir(folder).then(() => true),
    );
    if (!isGone) return;
  }
}

/** Removes a folder with the empty folders in it. Returns whether it is gone. */
export async function removeEmptyTree(folder: string): Promise<boolean> {
  for (const name of await namesIn(folder)) {
    if (!(await removeEmptyTree(join(folder, name)))) return false;
  }
  await removeFolders([folder]);
  return !(await isThere(folder));
}

function isThere(path: string): Promise<boolean> {
  return orElse(
    false,
    lstat(path).then(() => true),
  );
}

/**
 * Waits for `work`. Returns `otherwise` after a system error, because the error that the command ends with
 * matters more.
 */
async function orElse<Result>(otherwise: Result, work: Promise<Result>): Promise<Result> {
  try {
    return await work;
  } catch (error) {
    if (isSystemError(error)) return otherwise;
    throw error;
  }
}
