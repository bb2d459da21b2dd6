/** Where a file's inode lives: embedded in its directory while it is small and rarely changed, else an object of its own. */
import { codeOf, isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { EntryNode, FileInode, SymlinkInode } from '../../server/sealed/inode.ts';
import { fileOrSymlinkBytes } from '../../server/sealed/inode-body.ts';
import type { Directory } from './directory.ts';
import { type Inodes, idOfEntry } from './inodes.ts';
import type { LiveInode } from './live-inode.ts';
import type { Moves } from './moves.ts';

/** An embedded inode takes no more, encoded. */
const EMBEDDED_BYTES_MAX = 1024;
const ATTEMPTS_MAX = 16;

/** True when an inode may lie in its directory's leaf. */
export function isEmbeddable(inode: FileInode | SymlinkInode): boolean {
  return inode.linkCount === 1 && fileOrSymlinkBytes(inode) <= EMBEDDED_BYTES_MAX;
}

/** The node for a new entry; an inode that is too large to be embedded is put into the store first. */
export async function placeInode(
  inodes: Inodes,
  inode: FileInode | SymlinkInode,
  segments: Iterable<Id>,
): Promise<EntryNode> {
  if (isEmbeddable(inode)) return { kind: 'embedded', inode };
  const needed = [...segments];
  await inodes.unborn(inode).apply(draft => {
    draft.needs(needed);
    draft.update({});
  });
  return { kind: 'object', id: inode.id, type: inode.type };
}

/** A name that leads to a file, as somebody found it. */
export interface FilePlace {
  readonly directory: Directory;
  readonly name: Name;
  readonly id: Id;
}

/** What a change makes of the inode, and what must be durable before. */
export interface InodeChange<Kind> {
  readonly patch: Partial<Omit<Kind, 'id' | 'type'>>;
  readonly segments?: Iterable<Id> | undefined;
}

export interface ChangePlacedOptions {
  /** Makes an embedded inode an object of its own: for files that are committed again and again. */
  readonly promote?: boolean | undefined;
}

/**
 * Commits a change of a file's or symlink's inode, wherever it lives. ENOENT when the name no longer leads to it; what
 * `change` throws.
 */
export async function changePlaced<Kind extends FileInode | SymlinkInode>(
  inodes: Inodes,
  moves: Moves,
  place: FilePlace,
  change: (inode: Kind) => InodeChange<Kind>,
  options: ChangePlacedOptions = {},
): Promise<Kind> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await tryChange(inodes, moves, place, change, options);
    } catch (error) {
      if (!(error instanceof ChangedError) || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

/**
 * Makes an embedded inode an object of its own, if nobody changes it meanwhile: its content stays as it is. Best effort: what
 * the store fails with comes up again when there is something to commit.
 */
export async function promotePlaced(inodes: Inodes, moves: Moves, place: FilePlace): Promise<void> {
  try {
    const entry = await place.directory.find(place.name);
    if (entry === undefined || entry.node.kind === 'object' || idOfEntry(entry) !== place.id) return;
    await tryChange<FileInode | SymlinkInode>(inodes, moves, place, () => ({ patch: {} }), { promote: true });
  } catch (error) {
    if (!isNetsealError(error)) throw error;
  }
}

async function tryChange<Kind extends FileInode | SymlinkInode>(
  inodes: Inodes,
  moves: Moves,
  place: FilePlace,
  change: (inode: Kind) => InodeChange<Kind>,
  { promote = false }: ChangePlacedOptions,
): Promise<Kind> {
  const { directory, name, id } = place;
  const changed = await moves.applySettled(directory, async draft => {
    const entry = await draft.findSettled(name);
    if (entry === undefined || idOfEntry(entry) !== id) throw moved();
    if (entry.node.kind === 'object') return undefined;
    const base = entry.node.inode as Kind;
    const { patch, segments: needed = [] } = change(base);
    const segments = [...needed];
    const inode = { ...base, ...patch, version: base.version + 1 };
    if (promote || !isEmbeddable(inode)) return { inode, segments, isOutgrown: true };
    draft.needs(segments);
    draft.replace({ name, node: { kind: 'embedded', inode } }, { keepTimes: true });
    return { inode, segments, isOutgrown: false };
  });
  if (changed === undefined) return await changeObject(inodes, id, change);
  return changed.isOutgrown ? await outgrow(inodes, moves, place, changed) : changed.inode;
}

async function changeObject<Kind extends FileInode | SymlinkInode>(
  inodes: Inodes,
  id: Id,
  change: (inode: Kind) => InodeChange<Kind>,
): Promise<Kind> {
  return await inodes.get(id).apply(draft => {
    const { patch, segments = [] } = change(draft.inode as Kind);
    draft.needs(segments);
    draft.update(patch);
    return { ...draft.inode, version: draft.inode.version + 1 } as Kind;
  });
}

/**
 * Puts an inode into the store as an object, then has its entry say so: the second step is the commit.
 *
 * Others may be doing the same, and somebody may have died between the steps. The entry's version tells: an object made
 * from an older one is dead, as its maker's second step fails, and is written over. One that is newer than the entry was
 * made from it, and may be committed any moment: the entry gets a higher version, after which that one is dead, too.
 */
async function outgrow<Kind extends FileInode | SymlinkInode>(
  inodes: Inodes,
  moves: Moves,
  { directory, name, id }: FilePlace,
  { inode, segments }: Outgrown<Kind>,
): Promise<Kind> {
  // Versions count on from the embedded one's: whoever saw that takes this for newer.
  const version = inode.version - 1;
  const object = await findOrMake(inodes, { ...inode, version });
  const made = await object.apply(draft => {
    if (draft.inode.version > version) return undefined;
    draft.needs(segments);
    draft.update({ ...inode, version });
    return { ...inode, version: version + 1 };
  });
  await moves.applySettled(directory, async draft => {
    const entry = await draft.findSettled(name);
    if (entry === undefined || idOfEntry(entry) !== id) throw moved();
    // Somebody else's object, who has written over ours.
    if (entry.node.kind === 'object' || entry.node.inode.version !== version) throw new ChangedError();
    const node: EntryNode =
      made === undefined
        ? { kind: 'embedded', inode: { ...entry.node.inode, version: version + 1 } }
        : { kind: 'object', id, type: inode.type };
    draft.replace({ name, node }, { keepTimes: true });
  });
  if (made === undefined) throw new ChangedError();
  return made;
}

async function findOrMake(inodes: Inodes, inode: FileInode | SymlinkInode): Promise<LiveInode> {
  const object = inodes.get(inode.id);
  try {
    await object.read(0);
    return object;
  } catch (error) {
    if (codeOf(error) !== 'EMISSING') throw error;
    return inodes.unborn(inode);
  }
}

/** An embedded inode that has to become an object. */
interface Outgrown<Kind> {
  readonly inode: Kind;
  readonly segments: readonly Id[];
}

/** The entry changed between reading it and committing: the change is made again on what it is now. */
class ChangedError extends NetsealError {
  constructor() {
    super('ECONFLICT', 'another client changed the file meanwhile: try again');
  }
}

function moved(): NetsealError {
  return new NetsealError('ENOENT', 'another client has removed, replaced or moved the file');
}
