/** References of folders to inode objects. */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { DirectoryEntry, Inode, ObjectReference } from '../../server/sealed/inode.ts';

/** Returns the key of the object that a reference leads to. */
export function keyOfReference({ id, key }: ObjectReference): Id {
  return key ?? id;
}

/** Returns the key of the object that an entry leads to. EBUG for an entry that embeds its inode. */
export function keyOfEntry({ node }: DirectoryEntry): Id {
  if (node.kind === 'embedded') throw new NetsealError('EBUG', 'an embedded inode has no object');
  return keyOfReference(node);
}

/** Throws EFORMAT when an object holds another inode than the reference to it says. */
export function checkReference({ id, type }: ObjectReference, inode: Inode): void {
  if (inode.id === id && inode.type === type) return;
  throw new NetsealError(
    'EFORMAT',
    `inode ${id}: its object holds the ${inode.type} ${inode.id}, and its name says it is a ${type}`,
  );
}
