/**
 * Gives a file that replaces another one its rights, and syncs its folder afterwards.
 *
 *   1. A file is made with mode 0600, so that no other user reads it while it is written.
 *   2. When it is whole, {@link giveRights} gives it the rights of the file that it replaces.
 *   3. It gets its name.
 *   4. {@link syncFolder} makes the name durable, where the system lets us.
 */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { systemCodeOf } from '../base/errors.ts';
import { isRefusedSync } from '../system/folders.ts';
import { statOf } from './local-calls.ts';
import {
  ACCESS_LIST_KEY,
  modeWithoutAccessList,
  readAttributeAt,
  removeAttribute,
  writeAttribute,
} from './local-xattrs.ts';

const fsyncAsync = promisify(fs.fsync);

/** The mode of a file while it is written. */
export const PRIVATE_MODE = 0o600;

/** Who may do what with a file. */
export interface Rights {
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** The access control list, as the kernel has it; undefined for none. */
  readonly accessList: Uint8Array | undefined;
}

/** Returns the rights of what a path leads to. Throws the system's errors. */
export function rightsAt(path: string): Rights {
  const { mode, uid, gid } = fs.statSync(path);
  return { mode: mode & 0o7777, uid, gid, accessList: readAttributeAt(path, ACCESS_LIST_KEY) };
}

/**
 * Gives an open file these rights, as far as the system lets us; never more than these.
 *
 * - A group that cannot be given: the group's bits become those that everybody has, and the list is left out.
 * - Without the owner and the group, set-id bits are left out.
 *
 * Throws the system's errors of changing the mode.
 */
export function giveRights(fd: number, { mode, uid, gid, accessList }: Rights): void {
  const { hasOwner, hasGroup } = giveOwner(fd, uid, gid);
  // Removed first: the mode of a file with a list says what those in the list may do.
  removeAttribute(fd, ACCESS_LIST_KEY);
  let kept = hasOwner && hasGroup ? mode : mode & 0o1777;
  if (!hasGroup) kept = (kept & ~0o070) | (kept & ((kept & 0o007) << 3));
  fs.fchmodSync(fd, accessList === undefined ? kept : modeWithoutAccessList(kept, accessList));
  if (accessList !== undefined && hasGroup) {
    writeAttribute(fd, { key: ACCESS_LIST_KEY, value: accessList });
  }
}

/** Gives an open file an owner and a group. Returns which of the two it has afterwards. Never throws. */
export function giveOwner(
  fd: number,
  uid: number,
  gid: number,
): { readonly hasOwner: boolean; readonly hasGroup: boolean } {
  const now = statOf(fd);
  if (now.uid === uid && now.gid === gid) return { hasOwner: true, hasGroup: true };
  if (isGiven(() => fs.fchownSync(fd, uid, gid))) return { hasOwner: true, hasGroup: true };
  // A process may give a file to any group that it belongs to, even if it may not give it to another owner.
  const hasGroup = now.gid === gid || isGiven(() => fs.fchownSync(fd, now.uid, gid));
  return { hasOwner: now.uid === uid, hasGroup };
}

function isGiven(give: () => void): boolean {
  try {
    give();
    return true;
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
    return false;
  }
}

/** Syncs an open folder. Resolves, too, when the system refuses; rejects with its other errors. */
export async function syncFolder(fd: number): Promise<void> {
  try {
    await fsyncAsync(fd);
  } catch (error) {
    if (!isRefusedSync(error)) throw error;
  }
}

/** Syncs a folder by its path, as {@link syncFolder}. Resolves as well when the folder may not be read. */
export async function syncFolderAt(path: string): Promise<void> {
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  } catch (error) {
    if (isRefusedSync(error)) return;
    throw error;
  }
  try {
    await syncFolder(fd);
  } finally {
    fs.closeSync(fd);
  }
}
