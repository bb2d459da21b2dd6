/**
 * Unfinished files in a folder that `get` fills: those of a copy that was interrupted, and those that another
 * copy may still be writing.
 */
import * as fs from 'node:fs';
import type { Name } from '../base/name.ts';
import { type Begun, GET_JOURNAL_AGE_MS } from '../volume/state/get-journal.ts';
import {
  CHANGE_FLAGS,
  type FolderHandle,
  hasLocks,
  LOOK_FLAGS,
  type LocalStat,
  lookAt,
  namesIn,
  openAt,
  statOf,
  tryLock,
  unlinkAt,
} from './local-calls.ts';
import { isOwnPartialName, isPartialName, isResumableName } from './local-names.ts';
import { PRIVATE_MODE } from './local-rights.ts';
import type { BegunFile } from './local-target-file.ts';

/**
 * Opens an unfinished file that an interrupted copy has left here, to go on with it, and cuts off what lies
 * behind `endBytes`. The caller closes it. Undefined unless
 *
 *   - it is the file that the journal names, by name, device and inode number
 *   - only this user can write to it, and no other copy holds its lock
 *   - it has at least `endBytes` bytes
 */
export function openBegun(handle: FolderHandle, { unfinished, endBytes }: Begun): BegunFile | undefined {
  if (!isResumableName(unfinished.name)) return undefined;
  if (lookAt(handle, unfinished.name)?.type !== 'file') return undefined;
  const fd = openAt(handle, unfinished.name, CHANGE_FLAGS);
  let isKept = false;
  try {
    const { type, device, inode, uid, mode, linkCount, sizeBytes } = statOf(fd);
    const isIt = type === 'file' && device === unfinished.device && inode === unfinished.inode;
    const isOurs = uid === process.geteuid?.() && mode === PRIVATE_MODE && linkCount === 1;
    if (!(isIt && isOurs && sizeBytes >= endBytes && tryLock(fd))) return undefined;
    fs.ftruncateSync(fd, endBytes);
    isKept = true;
    return { name: unfinished.name, fd, endBytes };
  } finally {
    if (!isKept) fs.closeSync(fd);
  }
}

/**
 * Removes unfinished files that other copies have left in this folder, and returns how many. These stay:
 *
 *   - those of this process
 *   - those that another copy may still be writing: they are locked, if this machine has locks, or were
 *     changed within the last `minAgeMs`
 *   - those that can be gone on with, for as long as their journals stay
 *
 * With a `minAgeMs` of 0, only those of this process stay.
 */
export function removeLeftovers(handle: FolderHandle, minAgeMs: number): number {
  let count = 0;
  const resumableAfterNs = BigInt(Date.now() - GET_JOURNAL_AGE_MS) * 1_000_000n;
  const notAfterNs = BigInt(Date.now() - minAgeMs) * 1_000_000n;
  for (const name of namesIn(handle)) {
    if (!isPartialName(name) || isOwnPartialName(name)) continue;
    const found = lookAt(handle, name);
    if (found === undefined || found.type === 'folder') continue;
    const isYoung = found.ctimeNs > (isResumableName(name) ? resumableAfterNs : notAfterNs);
    if (minAgeMs > 0 && (isYoung || isLocked(handle, name, found))) continue;
    unlinkAt(handle, name);
    count += 1;
  }
  return count;
}

function isLocked(handle: FolderHandle, name: Name, { type }: LocalStat): boolean {
  if (type !== 'file' || !hasLocks()) return false;
  let fd: number;
  try {
    fd = openAt(handle, name, LOOK_FLAGS);
  } catch {
    return true;
  }
  const isFree = tryLock(fd);
  fs.closeSync(fd);
  return !isFree;
}

/** Removes an unfinished file of this copy. */
export function removeIfThere(handle: FolderHandle, name: Name): void {
  try {
    unlinkAt(handle, name);
  } catch {
    // Usually it is gone already. If not, `removeLeftovers` will remove it.
  }
}
