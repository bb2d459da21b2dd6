/**
 * The link count of an inode that has an object. It may be too high, which does no harm; never too low. With
 * the last name it falls to 0: clients that have the file open learn from it that the file was removed.
 */
import { isNetsealError } from '../../base/errors.ts';
import type { DirectoryEntry, ObjectReference } from '../../server/sealed/inode.ts';
import { nowNs, type Session } from '../session/session.ts';
import type { Inodes } from './inodes.ts';
import { keyOfReference } from './references.ts';

/** Commits a change of the link count. Returns the count afterwards. */
export async function changeLinkCount(
  session: Session,
  inodes: Inodes,
  reference: ObjectReference,
  difference: number,
): Promise<number> {
  return await inodes.get(keyOfReference(reference)).apply(draft => {
    const { inode } = draft;
    if (inode.type === 'directory' || inode.linkCount + difference < 0) return 0;
    const linkCount = inode.linkCount + difference;
    draft.update({ linkCount, ctimeNs: nowNs(session) });
    return linkCount;
  });
}

/**
 * Lowers the link count of a file that has lost a name, if it has an object, and tells those who have the
 * file open. This is best effort: the name is gone already.
 */
export async function dropLink(session: Session, inodes: Inodes, entry: DirectoryEntry): Promise<void> {
  const { node } = entry;
  if (node.kind === 'object') {
    if (node.type === 'directory') return;
    // Whoever has the file open by this name finds it by its object from now on.
    inodes.openPlaces.becameObject(node);
    try {
      if ((await changeLinkCount(session, inodes, node, -1)) > 0) return;
    } catch (error) {
      if (!isNetsealError(error)) throw error;
      return;
    }
  }
  inodes.openPlaces.removed(entry);
}
