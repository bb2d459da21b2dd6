/**
 * Reads and changes the inode of a file that is open, wherever it is by now. `OpenPlaces` knows what this
 * session did with its names. Where another client has moved it, it is looked for:
 *
 *   an object   is found by its key
 *   embedded    is found anywhere in its host; or where a move goes whose traces are still there
 *   unborn      is not in the store yet: it is as it was made, and is committed before it is changed
 *
 * Otherwise it counts as gone: EMISSING.
 */
import { codeOf, NetsealError } from '../../base/errors.ts';
import type { FileInode, LinkableInode } from '../../server/sealed/inode.ts';
import { changeWherever, type InodeChange, type PlaceParts, readPlaced } from './file-place.ts';
import type { OpenPlace } from './open-places.ts';

/** How often a file is looked for that others move at the same time. */
const SEARCHES_MAX = 16;

/**
 * Returns the inode as it was at most `maxAgeMs` ago; see `LiveInode.read`. Rejects with EMISSING when the
 * file is gone, also when this session has removed it; with what reading it throws.
 */
export async function readOpenFile(
  parts: PlaceParts,
  place: OpenPlace,
  maxAgeMs?: number,
): Promise<FileInode> {
  const unborn = parts.inodes.unbornNames.get(place.id);
  if (unborn !== undefined) return unborn.inode;
  return await wherever(parts, place, async () => {
    const { inode, reference } = await readPlaced(parts, place, maxAgeMs);
    if (reference !== undefined) place.object = reference;
    return requireLinked(inode);
  });
}

/**
 * Commits a change of the inode. Returns the inode as it is afterwards. Rejects as {@link readOpenFile} does;
 * with what `change` throws, and nothing is changed then; with what committing throws.
 */
export async function changeOpenFile(
  parts: PlaceParts,
  place: OpenPlace,
  change: (inode: FileInode) => InodeChange<FileInode>,
): Promise<FileInode> {
  await parts.inodes.unbornNames.settleFile(place.id);
  return await wherever(parts, place, async () => {
    const { inode, reference } = await changeWherever<FileInode>(parts, place, now =>
      change(requireLinked(now)),
    );
    if (reference !== undefined) place.object = reference;
    return inode;
  });
}

async function wherever<Result>(
  parts: PlaceParts,
  place: OpenPlace,
  work: () => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    const { directory, name, object } = place;
    try {
      if (place.isRemoved) throw gone();
      return await work();
    } catch (error) {
      if (!isLost(error)) throw error;
      // A rename of this session may just have ended, or be about to.
      await parts.inodes.openPlaces.settled();
      if (place.isRemoved || attempt === SEARCHES_MAX) throw gone(error);
      if (place.directory !== directory || place.name !== name || place.object !== object) continue;
      if (object !== undefined || !(await findMoved(parts, place))) throw gone(error);
    }
  }
}

/** Looks for a file that is not embedded where it was. Returns whether it was found. */
async function findMoved({ inodes, moves }: PlaceParts, place: OpenPlace): Promise<boolean> {
  try {
    const found = await place.directory.searchHost(place.id);
    if (found === undefined) return false;
    const { directory, entry } = found;
    if (entry.node.kind === 'object') place.object = entry.node;
    const { departure } = entry;
    if (departure === undefined || (await moves.isHere(entry))) place.moveTo({ directory, name: entry.name });
    else place.moveTo({ directory: inodes.directory(departure.directory), name: departure.name });
    return true;
  } catch (error) {
    if (!isLost(error)) throw error;
    return false;
  }
}

/** True for an error that says that the file is not where it was looked for. */
function isLost(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'EMISSING';
}

/** Throws EMISSING for an inode whose last name was removed. */
function requireLinked(inode: LinkableInode): FileInode {
  if (inode.type !== 'file') throw new NetsealError('EFORMAT', `inode ${inode.id} is not a file any more`);
  if (inode.linkCount === 0) throw gone();
  return inode;
}

function gone(cause?: unknown): NetsealError {
  return new NetsealError('EMISSING', 'the file was removed, or another client has moved it far away', {
    cause,
  });
}
