/**
 * Decides where the inode of a file or symlink lives. It is embedded in its directory while it is small, has
 * one name and is rarely changed. Otherwise it is an object of its own.
 */
import { codeOf, isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { EntryNode, FileInode, SymlinkInode } from '../../server/sealed/inode.ts';
import { fileOrSymlinkBytes } from '../../server/sealed/inode-body.ts';
import type { Directory } from './directory.ts';
import { type Inodes, idOfEntry } from './inodes.ts';
import type { LiveInode } from './live-inode.ts';
import type { Moves } from './moves.ts';

/** The most that an embedded inode takes, encoded. */
const EMBEDDED_BYTES_MAX = 1024;
const ATTEMPTS_MAX = 16;

/** True when an inode may lie in its directory's leaf. */
export function isEmbeddable(inode: FileInode | SymlinkInode): boolean {
  return inode.linkCount === 1 && fileOrSymlinkBytes(inode) <= EMBEDDED_BYTES_MAX;
}

/** Returns the node for a new entry. An inode that cannot be embedded is put into the store first. */
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

/** A name that led to a file when it was looked up. */
export interface FilePlace {
  readonly directory: Directory;
  readonly name: Name;
  readonly id: Id;
}

/** A change of an inode, and the segments that must be durable before its commit. */
export interface InodeChange<Kind> {
  readonly patch: Partial<Omit<Kind, 'id' | 'type'>>;
  readonly segments?: Iterable<Id> | undefined;
}

export interface ChangePlacedOptions {
  /** Makes an embedded inode an object of its own. */
  readonly promote?: boolean | undefined;
}

/**
 * Commits a change of a file's or symlink's inode, wherever it lives. Returns the inode as it is afterwards.
 *
 * Rejects with ENOENT when the name no longer leads to it; with what `change` throws, and nothing is changed
 * then; with what committing throws.
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
 * Makes an embedded inode an object of its own, unless another client changes it meanwhile. This is best
 * effort: if the store fails, the next commit will report that.
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
 * Makes an embedded inode an object, in two steps. First the object is put into the store, then the entry is
 * changed to lead to it. The second step is the commit.
 *
 * Other clients may do the same at the same time, and a client may have died between the steps. So an object
 * may exist already. Its version is compared with that of the embedded inode:
 *
 *   older   it was made from an older entry: its maker's second step will fail. We write over it.
 *   newer   it was made from this entry and may be committed any moment. The embedded inode gets a higher
 *           version, so that its maker's second step fails; then the change is tried again.
 */
async function outgrow<Kind extends FileInode | SymlinkInode>(
  inodes: Inodes,
  moves: Moves,
  { directory, name, id }: FilePlace,
  { inode, segments }: Outgrown<Kind>,
): Promise<Kind> {
  // Versions go on from the embedded inode's, so that clients which saw that take the object for newer.
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
    // Another client has written over our object.
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

/**
 * Signals that the entry changed between reading and committing it: the change is made again on the new
 * entry.
 */
class ChangedError extends NetsealError {
  constructor() {
    super('ECONFLICT', 'another client changed the file meanwhile: try again');
  }
}

function moved(): NetsealError {
  return new NetsealError('ENOENT', 'another client has removed, replaced or moved the file');
}
