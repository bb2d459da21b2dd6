/** A folder's entries with their inodes, in order, some of them at a time. */
import { isNetsealError } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, Inode, InodeType } from '../../server/sealed/inode.ts';
import type { Directory } from '../../volume/names/directory.ts';
import { typeOfEntry } from '../../volume/names/inodes.ts';
import type { Volume } from '../../volume/volume.ts';
import { mapConcurrent } from '../lib/concurrent.ts';

export interface Listed {
  readonly entry: DirectoryEntry;
  readonly name: Name;
  readonly type: InodeType;
  /** Undefined when it was not asked for, or cannot be read. */
  readonly inode?: Inode | undefined;
  readonly error?: unknown;
}

/** Inodes that are objects of their own, read at once. */
const INODES_AT_ONCE = 32;

/** @param needsInode whether the inode of an entry that does not hold it is to be read. */
export async function* listEntries(
  volume: Volume,
  directory: Directory,
  signal: AbortSignal,
  needsInode: (entry: DirectoryEntry) => boolean,
): AsyncGenerator<readonly Listed[]> {
  for await (const entries of volume.names.entries(directory)) {
    signal.throwIfAborted();
    const listed = await mapConcurrent(entries, INODES_AT_ONCE, async entry => {
      signal.throwIfAborted();
      return await readListed(volume, entry, needsInode(entry));
    });
    yield listed.filter(item => item !== undefined);
  }
}

/** Undefined for a folder that was removed meanwhile. */
async function readListed(
  volume: Volume,
  entry: DirectoryEntry,
  needsInode: boolean,
): Promise<Listed | undefined> {
  const item = { entry, name: entry.name, type: typeOfEntry(entry) };
  if (entry.node.kind === 'embedded') return { ...item, inode: entry.node.inode };
  if (!needsInode) return item;
  try {
    const inode = await volume.inodeOf(entry);
    const isRemoved = inode.type === 'directory' && inode.isDead;
    return isRemoved ? undefined : { ...item, inode };
  } catch (error) {
    if (!isNetsealError(error)) throw error;
    return { ...item, error };
  }
}
