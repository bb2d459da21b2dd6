/** Checks what programs give to a volume: names, attributes, inodes and places. All throw EINVAL. */
import { isUtf8 } from 'node:buffer';
import {
  argumentError,
  requireBytes,
  requireFlag,
  requireInstance,
  requireInteger,
  requireList,
  requireObject,
  requireText,
  requireTextOrBytes,
  shownValue,
} from '../../base/arguments.ts';
import { requireArgument } from '../../base/errors.ts';
import { checkId } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import {
  type Attributes,
  type DirectoryEntry,
  type FileInode,
  INODE_TYPES,
  type LinkableInode,
  MODE_MAX,
  OWNER_MAX,
} from '../../server/sealed/inode.ts';
import { NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX } from '../../server/sealed/inode-body.ts';
import { Directory } from './directory.ts';
import { checkName, nameBytes, toBytesName } from './name-checks.ts';

const TIME_NS_MAX: bigint = 2n ** 63n - 1n;

/**
 * Returns the name that a program means. Bytes can be any name. A string must be a {@link Name}, one
 * character for each byte, whose bytes are UTF-8: text such as `'ö'` would otherwise be stored as the single
 * byte F6.
 */
export function toGivenName(argument: string, value: unknown): Name {
  requireTextOrBytes(argument, value);
  if (typeof value !== 'string') {
    const name = toBytesName(value);
    checkName(name);
    return name;
  }
  const isName = isLatin1(value) && isUtf8(nameBytes(value));
  requireArgument(
    isName,
    `${argument} is text, and a name is bytes: use volume.place(path), or Buffer.from(text): ${shownValue(value)}`,
  );
  checkName(value);
  return value;
}

/** True for a string of one character for each byte. */
function isLatin1(text: string): boolean {
  return !/[^\0-\u00ff]/.test(text);
}

export function requireDirectory(argument: string, value: unknown): asserts value is Directory {
  requireInstance(argument, value, Directory);
}

/** A folder, and a name in it. */
interface GivenPlace {
  readonly directory: Directory;
  readonly name: Name;
}

export function toGivenPlace(argument: string, value: unknown): GivenPlace {
  requireObject(argument, value);
  const { directory, name } = value as { directory?: unknown; name?: unknown };
  requireDirectory(`${argument}.directory`, directory);
  return { directory, name: toGivenName(`${argument}.name`, name) };
}

export function requireId(argument: string, value: unknown): asserts value is string {
  requireText(argument, value);
  checkId(value);
}

/** Returns a copy of the attributes that are given, and of nothing else. */
export function toGivenAttributes(argument: string, value: unknown): Partial<Attributes> {
  requireObject(argument, value);
  const given: Partial<Record<keyof Attributes, unknown>> = value;
  const { mode, uid, gid, mtimeNs, atimeNs, xattrs } = given;
  if (mode !== undefined) requireInteger(`${argument}.mode`, mode, 0, MODE_MAX);
  if (uid !== undefined) requireInteger(`${argument}.uid`, uid, 0, OWNER_MAX);
  if (gid !== undefined) requireInteger(`${argument}.gid`, gid, 0, OWNER_MAX);
  if (mtimeNs !== undefined) requireTime(`${argument}.mtimeNs`, mtimeNs);
  if (atimeNs !== undefined) requireTime(`${argument}.atimeNs`, atimeNs);
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(mtimeNs === undefined ? {} : { mtimeNs }),
    ...(atimeNs === undefined ? {} : { atimeNs }),
    ...(xattrs === undefined ? {} : { xattrs: toXattrs(`${argument}.xattrs`, xattrs) }),
  };
}

/** Returns a copy of the attributes for something new. All must be given, the access time excepted. */
export function toNewAttributes(argument: string, value: unknown): Attributes {
  const { mode, uid, gid, mtimeNs, atimeNs, xattrs } = toGivenAttributes(argument, value);
  requireInteger(`${argument}.mode`, mode, 0, MODE_MAX);
  requireInteger(`${argument}.uid`, uid, 0, OWNER_MAX);
  requireInteger(`${argument}.gid`, gid, 0, OWNER_MAX);
  requireTime(`${argument}.mtimeNs`, mtimeNs);
  requireList(`${argument}.xattrs`, xattrs);
  const accessed = atimeNs === undefined ? {} : { atimeNs };
  return { mode, uid, gid, mtimeNs, ...accessed, xattrs: xattrs as Attributes['xattrs'] };
}

function requireTime(argument: string, value: unknown): asserts value is bigint {
  const isTime = typeof value === 'bigint' && value <= TIME_NS_MAX && value >= -TIME_NS_MAX - 1n;
  if (!isTime) throw argumentError(argument, 'a bigint of 64 bits, in nanoseconds since 1970', value);
}

function toXattrs(argument: string, value: unknown): Attributes['xattrs'] {
  requireList(argument, value);
  let previous = '';
  return value.map((xattr, at) => {
    requireObject(`${argument}[${at}]`, xattr);
    const given: { readonly key?: unknown; readonly value?: unknown } = xattr;
    requireText(`${argument}[${at}].key`, given.key);
    requireBytes(`${argument}[${at}].value`, given.value);
    const { key, value: bytes } = { key: given.key, value: given.value };
    const isKey = key.length > 0 && key.length <= NAME_BYTES_MAX && isLatin1(key) && !key.includes('\0');
    requireArgument(
      isKey && key > previous,
      `${argument}: keys must be names, ascending: ${shownValue(key)}`,
    );
    requireArgument(
      bytes.byteLength <= XATTR_VALUE_BYTES_MAX,
      `${argument}: a value must have at most ${XATTR_VALUE_BYTES_MAX} bytes, not ${bytes.byteLength}`,
    );
    previous = key;
    return { key, value: bytes };
  });
}

/** Requires an inode as `newFile` and its like make them, or as it was read; not a directory's. */
export function requireLinkable(argument: string, value: unknown): asserts value is LinkableInode {
  requireObject(argument, value);
  const { type, id } = value as { type?: unknown; id?: unknown };
  if (type === 'directory' || !INODE_TYPES.some(known => known === type))
    throw argumentError(argument, 'an inode of anything but a directory', value);
  requireId(`${argument}.id`, id);
}

function requireInode(argument: string, value: unknown): void {
  requireObject(argument, value);
  const { type, id } = value as { type?: unknown; id?: unknown };
  if (!INODE_TYPES.some(known => known === type)) throw argumentError(argument, 'an inode', value);
  requireId(`${argument}.id`, id);
}

export function requireFileInode(argument: string, value: unknown): asserts value is FileInode {
  requireLinkable(argument, value);
  if (value.type !== 'file') throw argumentError(argument, 'the inode of a file', value);
}

/** Requires an entry of a directory, as it was read. */
export function requireEntry(argument: string, value: unknown): asserts value is DirectoryEntry {
  requireObject(argument, value);
  const { name, node } = value as { name?: unknown; node?: unknown };
  requireText(`${argument}.name`, name);
  requireObject(`${argument}.node`, node);
  const given = node as { kind?: unknown; inode?: unknown; id?: unknown; key?: unknown; type?: unknown };
  if (given.kind === 'embedded') {
    requireInode(`${argument}.node.inode`, given.inode);
    return;
  }
  if (given.kind !== 'object') throw argumentError(`${argument}.node`, 'the node of an entry', node);
  requireId(`${argument}.node.id`, given.id);
  if (given.key !== undefined) requireId(`${argument}.node.key`, given.key);
  if (!INODE_TYPES.some(type => type === given.type)) {
    throw argumentError(`${argument}.node.type`, 'the type of an inode', given.type);
  }
}

/** Requires options for a change, which may have `replace` and segments to wait for. */
export function requireChangeOptions(argument: string, value: unknown): void {
  if (value === undefined) return;
  requireObject(argument, value);
  requireFlag(`${argument}.replace`, (value as { replace?: unknown }).replace);
}
