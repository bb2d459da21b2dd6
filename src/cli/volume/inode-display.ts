/** Inodes as people and programs read them. */
import type { Inode, InodeType } from '../../server/sealed/inode.ts';
import { isDevice } from '../../server/sealed/inode-body.ts';
import { toBytesName } from '../../volume/names/name-checks.ts';
import { nameFields } from '../lib/json.ts';
import { formatSize } from '../lib/sizes.ts';
import { formatTime } from '../lib/times.ts';

const TYPE_LETTERS: Record<InodeType, string> = {
  file: '-',
  symlink: 'l',
  directory: 'd',
  fifo: 'p',
  socket: 's',
  characterDevice: 'c',
  blockDevice: 'b',
};

/** Formats type and permissions as `ls` does: `drwxr-xr-x`. */
export function formatMode(type: InodeType, mode: number): string {
  const special = [mode & 0o4000, mode & 0o2000, mode & 0o1000];
  const triples = [6, 3, 0].map((shift, at) => {
    const bits = (mode >> shift) & 7;
    const letter = at === 2 ? 't' : 's';
    const specialLetter = (bits & 1) === 0 ? letter.toUpperCase() : letter;
    const execute = special[at] === 0 ? ((bits & 1) === 0 ? '-' : 'x') : specialLetter;
    return `${(bits & 4) === 0 ? '-' : 'r'}${(bits & 2) === 0 ? '-' : 'w'}${execute}`;
  });
  return TYPE_LETTERS[type] + triples.join('');
}

/** Formats permissions as four octal digits. */
export function octalMode(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

export function formatBytes(bytes: number, isHuman: boolean): string {
  return isHuman ? formatSize(bytes) : String(bytes);
}

/** Returns the fields of an inode that both `ls --json` and `stat --json` print. */
export function describeInode(inode: Inode): Record<string, unknown> {
  const { type, mode, uid, gid, mtimeNs } = inode;
  const common = { type, mode: octalMode(mode), uid, gid, mtime: formatTime(mtimeNs) };
  if (inode.type === 'directory') {
    return { ...common, entries: inode.entryCount, links: linksOf(inode) };
  }
  if (inode.type === 'symlink') {
    const { target, linkCount } = inode;
    return {
      ...common,
      size: target.byteLength,
      links: linkCount,
      ...nameFields('target', toBytesName(target)),
    };
  }
  if (inode.type === 'file') {
    return { ...common, size: inode.sizeBytes, stored: inode.storedBytes, links: inode.linkCount };
  }
  const device = isDevice(inode) ? { major: inode.major, minor: inode.minor } : {};
  return { ...common, ...device, links: inode.linkCount };
}

/**
 * Returns how many names lead to an inode, as file systems count: a folder has its own name, `.`, and `..` in
 * each folder below.
 */
export function linksOf(inode: Inode): number {
  return inode.type === 'directory' ? 2 + inode.subdirectoryCount : inode.linkCount;
}

/**
 * Returns the length of the content and of what is stored for it, in bytes. Undefined where there is none.
 */
export function sizesOf(inode: Inode): { size: number | undefined; stored: number | undefined } {
  if (inode.type === 'file') return { size: inode.sizeBytes, stored: inode.storedBytes };
  return { size: inode.type === 'symlink' ? inode.target.byteLength : undefined, stored: undefined };
}
