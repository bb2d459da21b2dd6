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

/**
 * What is known of a file or folder that this copy has made, so that it need not be asked for or set again.
 */
export interface Made {
  /** Its permission bits now; undefined when they are not known, or not the wanted ones. */
  readonly mode: number | undefined;
  /** True when it has no access control lists: its folder had none to inherit. */
  readonly hasNoLists: boolean;
  /** The file system it lies on. */
  readonly device: number;
}

export interface RestoreSettings extends RestoreOptions {
  readonly made?: Made | undefined;
  /** The times that file systems are known to keep. Without it, each time is read back. */
  readonly times?: ProvenTimes | undefined;
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
  { owner = false, replaced, removesDefaultList = false, made, times }: RestoreSettings,
): Unset {
  // The owner comes first: changing it clears set-id bits and capabilities.
  if (owner) fs.fchownSync(fd, attributes.uid, attributes.gid);
  else if (replaced !== undefined) giveOwner(fd, replaced.uid, replaced.gid);
  // The mode of a file that has a list says what those in the list may do.
  if (made?.hasNoLists !== true) {
    removeAttribute(fd, ACCESS_LIST_KEY);
    if (removesDefaultList) removeAttribute(fd, DEFAULT_LIST_KEY);
  }
  let keys = NO_KEYS;
  for (const attribute of attributes.xattrs) {
    if (givesRights(attribute.key) && !owner) continue;
    if (!isCopiedKey(attribute.key) || !writeAttribute(fd, attribute)) keys = [...keys, attribute.key];
  }
  const mode = restoredMode(attributes, owner, keys);
  if (mode !== made?.mode) fs.fchmodSync(fd, mode);
  return { keys, mtimeNs: restoreTime(fd, attributes, made?.device, times) };
}

/**
 * Returns the mode that a new file can be made with, so that it has the mode of `attributes` at once.
 * Undefined when the mode must be set afterwards: because the umask would take bits away, the owner could not
 * write, the mode has set-id bits, or it depends on an access list or the owner.
 */
export function modeToMakeWith(
  { mode, xattrs }: Attributes,
  { owner = false }: RestoreOptions,
  umask: number,
): number | undefined {
  const wanted = owner ? mode : mode & 0o1777;
  const isPlain = (wanted & ~0o777) === 0 && (wanted & umask) === 0 && (wanted & 0o600) === 0o600;
  return isPlain && xattrs.length === 0 ? wanted : undefined;
}

/**
 * The times that file systems were seen to keep exactly. A file system that has kept one time with all its
 * digits keeps every time from 1970 to 2038: no file system in use has a smaller range.
 */
export class ProvenTimes {
  readonly #devices = new Set<number>();

  /** True when this time need not be read back. */
  has(device: number, timeNs: bigint): boolean {
    return timeNs >= 0n && timeNs < SECONDS_END_NS && this.#devices.has(device);
  }

  /** Notes that a file on `device` was given a time, and has it. */
  add(device: number, timeNs: bigint): void {
    if (timeNs % TIME_STEP_NS !== 0n) this.#devices.add(device);
  }
}

/** The end of the times that 31 bits of seconds can hold. */
const SECONDS_END_NS = 2n ** 31n * 1_000_000_000n;

const NO_KEYS: readonly Name[] = [];
/** Without the native calls, times are set to the microsecond. */
const TIME_STEP_NS = 1000n;

/**
 * Sets the time, and reads it back unless `times` knows it. Returns the time that the file has, if that is
 * another one.
 */
function restoreTime(
  fd: number,
  wanted: Attributes,
  device: number | undefined,
  times: ProvenTimes | undefined,
): bigint | undefined {
  try {
    setTimes(fd, wanted);
    if (device !== undefined && times?.has(device, wanted.mtimeNs) === true) return undefined;
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error;
  }
  const { mtimeNs } = statOf(fd);
  if (device !== undefined && mtimeNs === wanted.mtimeNs) times?.add(device, mtimeNs);
  return isSameTime(mtimeNs, wanted.mtimeNs) ? undefined : mtimeNs;
}

/** True when two times are the same to the microsecond. */
export function isSameTime(left: bigint, right: bigint): boolean {
  const difference = left - right;
  return difference < TIME_STEP_NS && difference > -TIME_STEP_NS;
}

/** Returns the mode that an entry gets. */
export function restoredMode(attributes: Attributes, owner: boolean, lost: readonly Name[]): number {
  const mode = owner ? attributes.mode : attributes.mode & 0o1777;
  const list = attributes.xattrs.find(({ key }) => key === ACCESS_LIST_KEY);
  const isKept = list === undefined || (owner && !lost.includes(ACCESS_LIST_KEY));
  return isKept ? mode : modeWithoutAccessList(mode, list.value);
}
