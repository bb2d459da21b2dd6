/** Sets the attributes of files and folders that `get` writes. */
import * as fs from 'node:fs';
import { systemCodeOf } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { Attributes } from '../server/sealed/inode.ts';
import { setTimes, statOf } from './local-calls.ts';
import { giveOwner } from './local-rights.ts';
import {
  ACCESS_LIST_KEY,
  DEFAULT_LIST_KEY,
  givesRights,
  isCopiedKey,
  modeWithoutAccessList,
  removeAttribute,
  writeAttribute,
} from './local-xattrs.ts';

export interface RestoreOptions {
  /**
   * Restores owner and group as well, and what makes sense only with them: set-id bits, capabilities, access
   * control lists. The process needs the rights for that. Default: false.
   */
  readonly owner?: boolean;
}

/** The owner and group of a file, by number. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface RestoreSettings extends RestoreOptions {
  /** The owner of the file that this one replaces. The new file gets it, unless it gets the volume's. */
  readonly replaced?: Owner | undefined;
  /** Removes the default list of a folder that inherited it. Default: false. */
  readonly removesDefaultList?: boolean;
}

/** What could not be set. */
export interface Unset {
  /**
   * Extended attributes that this machine or this file system does not keep. Those that are left out for want
   * of `owner` are not among them.
   */
  readonly keys: readonly Name[];
  /** The time that the file has instead, when it could not have its own to the microsecond. */
  readonly mtimeNs: bigint | undefined;
}

/**
 * Sets everything of an open file or folder, the times last. It has exactly the rights of `attributes`
 * afterwards: lists that it inherited from its folder are removed. Throws the system's errors.
 */
export function restoreAttributes(
  fd: number,
  attributes: Attributes,
  { owner = false, replaced, removesDefaultList = false }: RestoreSettings,
): Unset {
  // The owner comes first: changing it clears set-id bits and capabilities.
  if (owner) fs.fchownSync(fd, attributes.uid, attributes.gid);
  else if (replaced !== undefined) giveOwner(fd, replaced.uid, replaced.gid);
  // The mode of a file that has a list says what those in the list may do.
  removeAttribute(fd, ACCESS_LIST_KEY);
  if (removesDefaultList) removeAttribute(fd, DEFAULT_LIST_KEY);
  let keys = NO_KEYS;
  for (const attribute of attributes.xattrs) {
    if (givesRights(attribute.key) && !owner) continue;
    if (!isCopiedKey(attribute.key) || !writeAttribute(fd, attribute)) keys = [...keys, attribute.key];
  }
  fs.fchmodSync(fd, restoredMode(attributes, owner, keys));
  return { keys, mtimeNs: restoreTime(fd, attributes.mtimeNs) };
}

const NO_KEYS: readonly Name[] = [];
/** Without the native calls, times are set to the microsecond. */
const TIME_STEP_NS = 1000n;

/** Sets the time, and reads it back. Returns the time that the file has, if that is another one. */
function restoreTime(fd: number, wantedNs: bigint): bigint | undefined {
  try {
    setTimes(fd, wantedNs);
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
  }
  const { mtimeNs } = statOf(fd);
  return isSameTime(mtimeNs, wantedNs) ? undefined : mtimeNs;
}

/** True when two times are the same to the microsecond. */
export function isSameTime(left: bigint, right: bigint): boolean {
  const difference = left - right;
  return difference < TIME_STEP_NS && difference > -TIME_STEP_NS;
}

function restoredMode(attributes: Attributes, owner: boolean, lost: readonly Name[]): number {
  const mode = owner ? attributes.mode : attributes.mode & 0o1777;
  const list = attributes.xattrs.find(({ key }) => key === ACCESS_LIST_KEY);
  const isKept = list === undefined || (owner && !lost.includes(ACCESS_LIST_KEY));
  return isKept ? mode : modeWithoutAccessList(mode, list.value);
}
