/** Making folders, and putting the names in them on the disk. */
import { mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemCodeOf } from '../base/errors.ts';
import { withPath } from './errors.ts';

/**
 * Makes a folder and those above it that are missing. Returns the topmost folder that it made; undefined when
 * all were there. Rejects with the system's error, which has the path of the folder that cannot be made.
 *
 * Node's own `mkdir` with `recursive` repeats for ever where the system says ENOENT below a parent that
 * exists: under `/proc`, or in a working folder that was removed. Here each folder is tried twice at most.
 *
 * @param mode of the folders that are made, less the umask.
 */
export async function makeFolders(path: string, mode: number): Promise<string | undefined> {
  try {
    return await makeFolder(path, mode);
  } catch (error) {
    const above = dirname(path);
    if (systemCodeOf(error) !== 'ENOENT' || above === path) throw error;
    const topmost = await makeFolders(above, mode);
    const made = await makeFolder(path, mode);
    return topmost ?? made;
  }
}

/** Returns the path when it made the folder, undefined when the folder was there. */
async function makeFolder(path: string, mode: number): Promise<string | undefined> {
  try {
    await mkdir(path, { mode });
    return path;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') throw error;
    // For a folder that is there, systems say EEXIST, EISDIR, EPERM or EROFS.
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory() === true) return undefined;
    throw error;
  }
}

/**
 * The codes with which a system refuses to sync a folder: the user may not read it, or the file system
 * cannot. Unlike EIO they do not say that anything was lost.
 */
const REFUSED: ReadonlySet<string> = new Set([
  'EACCES',
  'EPERM',
  'EINVAL',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EISDIR',
]);

/** Whether an error of opening or syncing a folder means only that this folder cannot be synced. */
export function isRefusedSync(error: unknown): boolean {
  return REFUSED.has(systemCodeOf(error) ?? '');
}

/**
 * Puts the names in a folder on the disk, so that a power cut does not undo a rename. Does nothing where the
 * system refuses. Other system errors, such as EIO, reject.
 */
export async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    if (!isRefusedSync(error)) throw withPath(path, error);
  }
}
