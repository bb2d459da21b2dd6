/**
 * The permission bits of what a directory store makes: those of the store's own folder, whatever the umask
 * is. Otherwise one member of a group would lock out the others.
 */
import { fchmodSync, fstatSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { systemCodeOf } from '../base/errors.ts';

export interface StoreModes {
  /** Permission bits of new folders, with the setgid bit. */
  readonly folder: number;
  /** Permission bits of new files: the same without those to execute. */
  readonly file: number;
}

const SETGID = 0o2000;
const PERMISSIONS = 0o777;
const EXECUTE = 0o111;

/** Returns the modes that follow the folder at `path`. */
export async function storeModes(path: string): Promise<StoreModes> {
  const { mode } = await stat(path);
  return { folder: mode & (SETGID | PERMISSIONS), file: mode & PERMISSIONS & ~EXECUTE };
}

/**
 * Gives a new file or folder of this process its mode. Does nothing where the file system has no modes of its
 * own and refuses.
 */
export function setMode(fd: number, mode: number): void {
  if ((fstatSync(fd).mode & (SETGID | PERMISSIONS)) === mode) return;
  try {
    fchmodSync(fd, mode);
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(systemCodeOf(error) ?? '')) throw error;
  }
}
