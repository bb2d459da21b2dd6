/**
 * Takes back a commit that proves to refer to lost objects: the inode is put again as it was before.
 * Otherwise what shares a name node with the change would be lost with it.
 *
 * What the earlier version refers to is there: it was live until the commit, and a gc deletes nothing while
 * an inode refers to a lost segment. But others may have seen the commit meanwhile. So
 *
 *   1. Nothing that the commit had changed gets a version or data version that was used before. Otherwise a
 *      client that has read the commit could take what comes after it for the commit.
 *   2. What has become an object stays one, if that object is still there: a client may hold its key, and may
 *      have had a change of it acknowledged. The object gets back the content that it had in its host, unless
 *      a client has changed it since.
 *   3. An object that is gone cannot be changed any more. What it held is embedded again.
 */
import { codeOf } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import { inParallel } from '../../base/in-parallel.ts';
import type { InodeObject } from '../../server/sealed/inode.ts';
import { WRITERS_MAX } from '../../server/sealed/inode-format.ts';
import { putInodeObject, readInodeObject, type StoredInode } from '../../server/sealed/inode-object.ts';
import { makeDurable, type Session } from '../session/session.ts';
import type { Attempt } from './commit-group.ts';
import { Draft, type MovedOut } from './draft.ts';

const OBJECTS_AT_ONCE = 16;

/**
 * Puts the inode as it was before `attempt`, which is in the store as `stored`. Returns what it has put;
 * undefined when the inode did not exist before. Rejects with ECONFLICT when another client has changed the
 * inode since, and with what the store throws. Then the commit is not taken back.
 */
export async function takeBack(
  session: Session,
  stored: StoredInode,
  { before, draft, referred }: Attempt,
): Promise<StoredInode | undefined> {
  if (before === undefined) return undefined;
  const objects = await readObjects(session, referred);
  const back = Draft.of(session, before, stored.key);
  const files = await draft.revertInto(back, key => objects.has(key));
  const inode = await back.build(session.nodeSegments);
  await makeDurable(session, back.segments);
  const restored: MovedOut[] = [
    ...back.promoted,
    ...files.map(({ key, inode: file }) => ({ key, inode: { ...file, dataVersion: file.dataVersion + 2 } })),
  ];
  await inParallel(restored, OBJECTS_AT_ONCE, async object => {
    const now = objects.get(object.key);
    if (now !== undefined) await restore(session, now, object);
  });
  const next = nextOf(stored, inode);
  return await putInodeObject(session.sealing, stored.key, next, { ifMatch: stored.version });
}

/** Returns those of some inode objects that are there. */
async function readObjects(session: Session, keys: Iterable<Id>): Promise<Map<Id, StoredInode>> {
  const objects = new Map<Id, StoredInode>();
  await inParallel(keys, OBJECTS_AT_ONCE, async key => {
    try {
      objects.set(key, await readInodeObject(session.sealing, key));
    } catch (error) {
      if (codeOf(error) !== 'EMISSING') throw error;
    }
  });
  return objects;
}

/** Gives an object the content that it had in its host, unless it was changed since the commit put it. */
async function restore({ sealing, marks }: Session, now: StoredInode, { inode }: MovedOut): Promise<void> {
  if (now.object.writers.length > 1) return;
  try {
    const next = nextOf(now, inode);
    const { hash } = await putInodeObject(sealing, now.key, next, { ifMatch: now.version });
    marks.note(now.key, next.inode.version, hash);
  } catch (error) {
    // Another client has changed it just now, or a gc has deleted it.
    if (codeOf(error) !== 'ECONFLICT') throw error;
  }
}

/** Returns the object that follows a stored one, with other content. */
function nextOf({ object, hash }: StoredInode, inode: InodeObject['inode']): InodeObject {
  const version = object.inode.version + 1;
  const writers = [{ version, nonce: randomId() }, ...object.writers].slice(0, WRITERS_MAX);
  return { inode: { ...inode, version }, writers, predecessor: hash };
}
