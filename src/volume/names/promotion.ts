/**
 * Promotion: an embedded directory becomes an object of its own, with all embedded directories above it, as
 * the parent of a directory object is always an object.
 *
 *   1. Each directory of the path is put as an object under a fresh key, all at once. The version is 1 more
 *      than that of the embedded directory. Nothing refers to these objects yet.
 *   2. The host's entry of the topmost one is changed to lead to its object, if its version is still the one
 *      that step 1 began with. This is the commit.
 *
 * Any change below the topmost directory raises its version. So if that is unchanged, everything on the path
 * is. If it is not, both steps are taken again, under other keys. What was put before is garbage.
 *
 * A directory is never embedded again: a client that holds the old key would be acknowledged into nothing.
 */
import { codeOf, NetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { DirectoryEntry, DirectoryInode, ObjectReference } from '../../server/sealed/inode.ts';
import { NameTree, sizesOf } from '../../server/sealed/name-tree.ts';
import { makeDurable, type Session } from '../session/session.ts';
import type { Change } from './commit-group.ts';
import type { Directory, PathStep } from './directory.ts';
import type { Inodes } from './inodes.ts';

/** Commits a change of a directory that is an object, once moves in its way were ended. */
type Apply = (host: Directory, change: Change<void>) => Promise<void>;

const ATTEMPTS_MAX = 16;

/** See `Moves.promote`. */
export async function promoteDirectory(
  session: Session,
  inodes: Inodes,
  directory: Directory,
  apply: Apply,
): Promise<void> {
  for (let attempt = 1; directory.isEmbedded; attempt += 1) {
    if (directory.isUnborn) await directory.create();
    try {
      await tryPromote(session, inodes, directory, apply);
    } catch (error) {
      // The answer for an object was lost: its key cannot be used again.
      const isLost = error instanceof ChangedError || codeOf(error) === 'EUNCERTAIN';
      if (!isLost || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

/** A directory of the path, and the key of the object that it becomes. */
interface Promoted extends PathStep {
  readonly reference: ObjectReference & { readonly key: Id };
}

async function tryPromote(
  session: Session,
  inodes: Inodes,
  directory: Directory,
  apply: Apply,
): Promise<void> {
  // Asks the store: another client may have changed what lies below.
  const steps = await directory.readPath(0);
  const { live } = directory.path;
  const host = inodes.directory(live.key);
  const promoted = steps.map(step => ({
    ...step,
    reference: { kind: 'object', id: step.directory.id, key: randomId(), type: 'directory' } as const,
  }));
  const [top] = promoted;
  if (top === undefined) return;
  const segments = await putObjects(session, live.key, promoted);
  await apply(host, async draft => {
    const entry = await draft.findSettled(top.directory.name);
    const { node } = entry ?? {};
    const isSame = node?.kind === 'embedded' && node.inode.id === top.directory.id;
    if (!isSame || node.inode.version !== top.inode.version || draft.hasChanged(top.directory.id)) {
      throw new ChangedError();
    }
    draft.needs(segments);
    draft.refers(promoted.map(({ reference }) => reference.key));
    draft.replace({ name: top.directory.name, node: top.reference }, { keepTimes: true });
  });
  for (const { directory: step, reference } of promoted) step.becomeObject(reference);
}

/** Puts the objects. Returns the segments of their name nodes, which are in the store then. */
async function putObjects(session: Session, hostKey: Id, promoted: readonly Promoted[]): Promise<Set<Id>> {
  const segments = new Set<Id>();
  const objects: { readonly key: Id; readonly inode: DirectoryInode }[] = [];
  for (const [at, { inode, reference }] of promoted.entries()) {
    const below = promoted[at + 1];
    const object = {
      ...inode,
      parent: promoted[at - 1]?.reference.key ?? hostKey,
      version: inode.version + 1,
    };
    if (below === undefined) {
      objects.push({ key: reference.key, inode: object });
      continue;
    }
    const entry: DirectoryEntry = { name: below.directory.name, node: below.reference };
    const names = new NameTree(session.sealing, inode.id, session.nameNodes, sizesOf(object));
    const {
      root,
      nextIndex,
      segments: used,
    } = await names.update(inode.tree, [[entry.name, entry]], inode.nextIndex, session.nodeSegments);
    for (const segment of used) segments.add(segment);
    objects.push({ key: reference.key, inode: { ...object, tree: root, nextIndex } });
  }
  await Promise.all([
    makeDurable(session, segments),
    ...objects.map(({ key, inode }) => session.fresh.putAs(session, key, inode)),
  ]);
  return segments;
}

/** Signals that the directory has changed since its objects were made. */
class ChangedError extends NetsealError {
  constructor() {
    super('ECONFLICT', 'another client changed the folder meanwhile: try again');
  }
}
