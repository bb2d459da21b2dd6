/** The entries of a folder with their inodes, in the order of their names. */
import { isNetsealError } from '../../base/errors.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, Inode, InodeType } from '../../server/sealed/inode.ts';
import type { Directory } from '../../volume/names/directory.ts';
import { typeOfEntry } from '../../volume/names/references.ts';
import type { Volume } from '../../volume/volume.ts';
import { mapConcurrent } from '../lib/concurrent.ts';

export interface Listed {
  readonly entry: DirectoryEntry;
  readonly name: Name;
  readonly type: InodeType;
  /** Undefined when it was not asked for, or when it cannot be read. */
  readonly inode?: Inode | undefined;
  /** The reason why the inode cannot be read. */
  readonly error?: unknown;
}

/** The number of inode objects that are read at the same time. */
const INODES_AT_ONCE = 32;

/**
 * Yields the entries of a folder, some of them at a time. Folders that were removed meanwhile are left out.
 *
 * @param needsInode whether to read the inode of an entry that does not embed it.
 */
export async function* listEntries(
  volume: Volume,
  directory: Directory,
  signal: AbortSignal,
  needsInode: (entry: DirectoryEntry) => boolean,
  options: { readonly isWalk?: boolean } = {},
): AsyncGenerator<readonly Listed[]> {
  for await (const entries of volume.namespace.entries(directory, options)) {
    signal.throwIfAborted();
    const listed = await mapConcurrent(entries, INODES_AT_ONCE, async entry => {
      signal.throwIfAborted();
      return await readListed(volume, entry, needsInode(entry));
    });
    yield listed.filter(item => item !== undefined);
  }
}

/** Returns the folder that an entry of `parent` names, or undefined when it names none. */
export function folderOf(volume: Volume, parent: Directory, entry: DirectoryEntry): Directory | undefined {
  return typeOfEntry(entry) === 'directory' ? volume.directoryOf(parent, entry) : undefined;
}

/** Returns undefined for a folder that was removed meanwhile. */
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
