/** The link count of an inode that has an object. It may be too high, which does no harm; never too low. */
import { bestEffort } from '../../base/best-effort.ts';
import type { DirectoryEntry, ObjectReference } from '../../server/sealed/inode.ts';
import { nowNs, type Session } from '../session/session.ts';
import type { Inodes } from './inodes.ts';
import { keyOfReference } from './references.ts';

/** Commits a change of the link count. A count never falls below 1: gc finds files without names by itself. */
export async function changeLinkCount(
  session: Session,
  inodes: Inodes,
  reference: ObjectReference,
  difference: number,
): Promise<void> {
  await inodes.get(keyOfReference(reference)).apply(draft => {
    const { inode } = draft;
    if (inode.type === 'directory' || inode.linkCount + difference < 1) return;
    draft.update({ linkCount: inode.linkCount + difference, ctimeNs: nowNs(session) });
  });
}

/**
 * Lowers the link count of a file that has lost a name, if it has an object. This is best effort: the name is
 * gone already.
 */
export async function dropLink(session: Session, inodes: Inodes, { node }: DirectoryEntry): Promise<void> {
  if (node.kind === 'object' && node.type !== 'directory') {
    await bestEffort(changeLinkCount(session, inodes, node, -1));
  }
}
