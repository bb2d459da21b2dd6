/** Sets the attributes of files and folders that `get` writes. */
import * as fs from 'node:fs';
import type { Name } from '../base/name.ts';
import type { Attributes } from '../server/sealed/inode.ts';
import { setTimes } from './local-calls.ts';
import {
  ACCESS_LIST_KEY,
  givesRights,
  isCopiedKey,
  modeWithoutAccessList,
  writeAttribute,
} from './local-xattrs.ts';

export interface RestoreOptions {
  /**
   * Give it its owner and group too, and with them what makes sense only then: set-id bits, capabilities,
   * access control lists. Needs the rights for it. Default: off.
   */
  readonly owner?: boolean;
}

/**
 * Sets everything of an open file or folder, the times last. Returns the keys of extended attributes that
 * this machine or this file system does not keep; those that are left out for want of `owner` are not among
 * them.
 */
export function restoreAttributes(
  fd: number,
  attributes: Attributes,
  { owner = false }: RestoreOptions,
): readonly Name[] {
  // The owner comes first: changing it clears set-id bits and capabilities.
  if (owner) fs.fchownSync(fd, attributes.uid, attributes.gid);
  let lost = NONE_LOST;
  for (const attribute of attributes.xattrs) {
    if (givesRights(attribute.key) && !owner) continue;
    if (!isCopiedKey(attribute.key) || !writeAttribute(fd, attribute)) lost = [...lost, attribute.key];
  }
  fs.fchmodSync(fd, restoredMode(attributes, owner, lost));
  setTimes(fd, attributes.mtimeNs);
  return lost;
}

const NONE_LOST: readonly Name[] = [];

function restoredMode(attributes: Attributes, owner: boolean, lost: readonly Name[]): number {
  const mode = owner ? attributes.mode : attributes.mode & 0o1777;
  const list = attributes.xattrs.find(({ key }) => key === ACCESS_LIST_KEY);
  const isKept = list === undefined || (owner && !lost.includes(ACCESS_LIST_KEY));
  return isKept ? mode : modeWithoutAccessList(mode, list.value);
}
