/** What the entries of folders lead to: ids, types, and references to inode objects. */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { DirectoryEntry, EntryNode, Inode, ObjectReference } from '../../server/sealed/inode.ts';

/** Returns the id of the inode that a node embeds or refers to. */
export function idOfNode(node: EntryNode): Id {
  return node.kind === 'embedded' ? node.inode.id : node.id;
}

/** Returns the type of the inode that a node embeds or refers to. */
export function typeOfNode(node: EntryNode): Inode['type'] {
  return node.kind === 'embedded' ? node.inode.type : node.type;
}

/** Returns the id of the inode that an entry leads to. */
export function idOfEntry({ node }: DirectoryEntry): Id {
  return idOfNode(node);
}

/** Returns the type of the inode that an entry leads to. */
export function typeOfEntry({ node }: DirectoryEntry): Inode['type'] {
  return typeOfNode(node);
}

/** True for an entry that leads to a directory with an object of its own. */
export function isObjectDirectory({ node }: DirectoryEntry): boolean {
  return node.kind === 'object' && node.type === 'directory';
}

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
