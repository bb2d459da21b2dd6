/**
 * Extended attributes of local files. The user's own (`user.*`), access control lists and capabilities are
 * copied. What belongs to this machine is not: security labels, and what other file systems keep in
 * `trusted.*`.
 */
import { getSystemErrorMessage } from 'node:util';
import { MIB } from '../base/geometry.ts';
import type { Name } from '../base/name.ts';
import type { ExtendedAttribute } from '../server/sealed/inode.ts';
import { NAME_BYTES_MAX } from '../server/sealed/inode-body.ts';
import type { FolderHandle } from './local-calls.ts';
import { showName } from './local-names.ts';
import { hasFailedWith, native, systemError } from './local-native.ts';

const OF_OWNERS: ReadonlySet<Name> = new Set([
  'security.capability',
  'system.posix_acl_access',
  'system.posix_acl_default',
]);
export const ACCESS_LIST_KEY: Name = 'system.posix_acl_access';
export const DEFAULT_LIST_KEY: Name = 'system.posix_acl_default';

/** True when an attribute gives rights, and so makes sense only together with the owner. */
export function givesRights(key: Name): boolean {
  return OF_OWNERS.has(key);
}

/** True when attributes of this key are copied. */
export function isCopiedKey(key: Name): boolean {
  return key.startsWith('user.') || givesRights(key);
}

const NONE: readonly ExtendedAttribute[] = [];
// The kernel's own limit, of a list and of a value.
const ATTRIBUTE_MAX_BYTES = 64 * 1024;
/** The most that a volume keeps of one file, keys and values together. */
const TOTAL_MAX_BYTES: number = MIB;
const BUFFER = Buffer.alloc(ATTRIBUTE_MAX_BYTES);

/** Told of attributes that cannot be read or kept, in words that can stand in a note. */
export type OnLost = (what: string) => void;

/**
 * Returns a file's attributes, ascending by key. Empty where the file system has none, or this machine lacks
 * the calls. Attributes that cannot be read or kept are left out, and `onLost` is told.
 */
export function readAttributes(fd: number, onLost: OnLost): readonly ExtendedAttribute[] {
  const calls = native().attributes;
  if (calls === undefined) return NONE;
  const listSize = calls.flistxattr(fd, BUFFER, ATTRIBUTE_MAX_BYTES);
  return listSize === 0
    ? NONE
    : attributesOf(listSize, key => calls.fgetxattr(fd, key, BUFFER, ATTRIBUTE_MAX_BYTES), onLost);
}

/** As {@link readAttributes}, for an entry of a folder: of a symbolic link itself, not of its target. */
export function readAttributesAt(
  folder: FolderHandle,
  name: Name,
  onLost: OnLost,
): readonly ExtendedAttribute[] {
  const calls = native().attributes;
  if (calls === undefined) return NONE;
  // No call starts from an open folder (`listxattrat` is too new); the descriptor's path serves.
  const path = cString(`${folder.through}/${name}`);
  const listSize = calls.llistxattr(path, BUFFER, ATTRIBUTE_MAX_BYTES);
  return listSize === 0
    ? NONE
    : attributesOf(listSize, key => calls.lgetxattr(path, key, BUFFER, ATTRIBUTE_MAX_BYTES), onLost);
}

function attributesOf(
  listSize: number,
  read: (key: Buffer) => number,
  onLost: OnLost,
): readonly ExtendedAttribute[] {
  const attributes: ExtendedAttribute[] = [];
  let totalBytes = 0;
  for (const key of keysIn(listSize, onLost)) {
    const size = read(cString(key));
    if (size < 0) {
      // It was removed after it was listed, or is not there.
      if (!hasFailedWith('ENODATA') && !hasFailedWith('EOPNOTSUPP')) {
        onLost(`its attribute ${showName(key)} cannot be read: ${whyItFailed('getxattr')}`);
      }
      continue;
    }
    totalBytes += key.length + size;
    if (totalBytes > TOTAL_MAX_BYTES || key.length > NAME_BYTES_MAX) {
      onLost(
        `its attribute ${showName(key)} is not kept: a volume keeps ${TOTAL_MAX_BYTES} bytes of a file's`,
      );
      totalBytes -= key.length + size;
      continue;
    }
    attributes.push({ key, value: new Uint8Array(BUFFER.subarray(0, size)) });
  }
  return attributes;
}

/** Returns the keys to copy, ascending. Without a list, those that can be asked for by name. */
function keysIn(listSize: number, onLost: OnLost): readonly Name[] {
  if (listSize >= 0) return BUFFER.toString('latin1', 0, listSize).split('\0').filter(isCopiedKey).sort();
  if (hasFailedWith('EOPNOTSUPP') || hasFailedWith('ENODATA')) return [];
  onLost(`its attributes (user.*) cannot be listed: ${whyItFailed('listxattr')}`);
  return [...OF_OWNERS].sort();
}

function whyItFailed(syscall: string): string {
  const { errno } = systemError(syscall) as NodeJS.ErrnoException;
  return errno === undefined ? 'the system does not say why' : getSystemErrorMessage(errno);
}

/** Errors by which file systems say that they cannot keep an attribute. ENOSPC is about room in the inode. */
const REFUSALS = ['EOPNOTSUPP', 'EPERM', 'EACCES', 'ENOSPC', 'E2BIG', 'ERANGE', 'EINVAL', 'ENODATA'] as const;

/** Sets one attribute. Returns false when this machine or this file system cannot keep it. */
export function writeAttribute(fd: number, { key, value }: ExtendedAttribute): boolean {
  const calls = native().attributes;
  if (calls === undefined || key.includes('\0')) return false;
  if (calls.fsetxattr(fd, cString(key), value, value.byteLength, 0) === 0) return true;
  if (REFUSALS.some(hasFailedWith)) return false;
  throw systemError('fsetxattr');
}

/**
 * Removes one attribute. Returns false when the file still has it: this machine lacks the call, or may not.
 * True also when the file has none, or its file system knows none.
 */
export function removeAttribute(fd: number, key: Name): boolean {
  const calls = native().attributes;
  if (calls === undefined) return false;
  if (calls.fremovexattr(fd, cString(key)) === 0) return true;
  return hasFailedWith('ENODATA') || hasFailedWith('EOPNOTSUPP');
}

/** Returns one attribute of what a path leads to; undefined when it has none, or it cannot be read. */
export function readAttributeAt(path: string, key: Name): Uint8Array | undefined {
  const target = Buffer.from(`${path}\0`);
  const size = native().attributes?.getxattr(target, cString(key), BUFFER, ATTRIBUTE_MAX_BYTES) ?? -1;
  return size < 0 ? undefined : new Uint8Array(BUFFER.subarray(0, size));
}

const TAG_OWNING_GROUP = 0x04;
const TAG_MASK = 0x10;

/**
 * The permission bits of a file that loses its access control list. While it has one, the group's bits in the
 * mode are the limit of all who are listed, and the group itself may have less.
 */
export function modeWithoutAccessList(mode: number, list: Uint8Array): number {
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
  let group = mode >> 3;
  // A version, then 8 bytes an entry: u16 tag, u16 permissions, u32 id; little-endian.
  for (let at = 4; at + 8 <= list.byteLength; at += 8) {
    const tag = view.getUint16(at, true);
    if (tag === TAG_OWNING_GROUP || tag === TAG_MASK) group &= view.getUint16(at + 2, true);
  }
  return (mode & ~0o070) | ((group & 0o7) << 3);
}

function cString(text: Name): Buffer {
  return Buffer.from(`${text}\0`, 'latin1');
}
