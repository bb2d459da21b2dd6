/**
 * Decides where the inode of anything but a directory lives. It is embedded in its directory while it is
 * small, has one name and is rarely changed. Otherwise it is an object of its own.
 */
import { isNetsealError, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { EntryNode, Inode, LinkableInode, ObjectReference } from '../../server/sealed/inode.ts';
import { linkableBytes } from '../../server/sealed/inode-body.ts';
import { folderHeadBytes } from '../../server/sealed/name-node-format.ts';
import { makeDurable, type Session } from '../session/session.ts';
import type { Directory } from './directory.ts';
import type { Inodes } from './inodes.ts';
import type { Moves } from './moves.ts';
import { checkReference, idOfEntry, keyOfReference } from './references.ts';

/** The most that an embedded inode takes, encoded; for a directory, without its entries. */
const EMBEDDED_BYTES_MAX = 1024;
const ATTEMPTS_MAX = 16;

/**
 * True when an inode may lie in its directory's leaf. The entries of a directory do not count: they can go
 * into nodes.
 */
export function isEmbeddable(inode: Inode): boolean {
  if (inode.type === 'directory') return folderHeadBytes(inode) <= EMBEDDED_BYTES_MAX;
  return inode.linkCount === 1 && linkableBytes(inode) <= EMBEDDED_BYTES_MAX;
}

/**
 * Returns the node for a new entry. An inode that cannot be embedded is put into the store first. The
 * segments of its content need not be there yet: the commit that gives it a name waits for them.
 */
export async function placeInode(session: Session, inode: LinkableInode): Promise<EntryNode> {
  if (isEmbeddable(inode)) return { kind: 'embedded', inode };
  return await putObject(session, { ...inode, version: inode.version + 1 });
}

async function putObject(session: Session, inode: LinkableInode): Promise<ObjectReference> {
  const { key } = await session.fresh.put(session, inode);
  return { kind: 'object', id: inode.id, key, type: inode.type };
}

/** A name that led to a file when it was looked up. */
export interface FilePlace {
  readonly directory: Directory;
  readonly name: Name;
  readonly id: Id;
  /** The reference to its object, if it is known to have one. Then the name does not matter. */
  readonly object?: ObjectReference | undefined;
}

/** A change of an inode, and the segments that must be durable before its commit. */
export interface InodeChange<Kind> {
  readonly patch: Partial<Omit<Kind, 'id' | 'type'>>;
  readonly segments?: Iterable<Id> | undefined;
}

/** The parts of a volume that changes of files work with. */
export interface PlaceParts {
  readonly session: Session;
  readonly inodes: Inodes;
  readonly moves: Moves;
}

/** An inode as it is, or after a change, and the reference to its object; undefined when it is embedded. */
export interface ChangedPlace<Kind> {
  readonly inode: Kind;
  readonly reference?: ObjectReference;
}

/**
 * Commits a change of an inode that is no directory's, wherever it lives. Returns the inode as it is
 * afterwards.
 *
 * Rejects with ENOENT when the name no longer leads to it; with what `change` throws, and nothing is changed
 * then; with what committing throws.
 */
export async function changePlaced<Kind extends LinkableInode>(
  parts: PlaceParts,
  place: FilePlace,
  change: (inode: Kind) => InodeChange<Kind>,
): Promise<Kind> {
  return (await changeWherever(parts, place, change)).inode;
}

/**
 * Does the same as {@link changePlaced}, and also returns the reference to the inode's object, if it has one.
 */
export async function changeWherever<Kind extends LinkableInode>(
  parts: PlaceParts,
  place: FilePlace,
  change: (inode: Kind) => InodeChange<Kind>,
): Promise<ChangedPlace<Kind>> {
  return await changeAnywhere(parts, place, change, false);
}

/**
 * Reads an inode that is no directory's, wherever it lives, as it was at most `maxAgeMs` ago; see
 * `LiveInode.read`. Rejects with ENOENT when the name does not lead to it.
 */
export async function readPlaced(
  { inodes, moves }: PlaceParts,
  { directory, name, id, object }: FilePlace,
  maxAgeMs?: number,
): Promise<ChangedPlace<LinkableInode>> {
  let reference = object;
  if (reference === undefined) {
    const entry = await directory.find(name, maxAgeMs);
    if (entry === undefined || idOfEntry(entry) !== id || !(await moves.isHere(entry))) throw moved();
    if (entry.node.kind === 'embedded') return { inode: requireNoDirectory(entry.node.inode) };
    reference = entry.node;
  }
  const inode = await inodes.get(keyOfReference(reference)).read(maxAgeMs);
  checkReference(reference, inode);
  return { inode: requireNoDirectory(inode), reference };
}

function requireNoDirectory(inode: Inode): LinkableInode {
  if (inode.type === 'directory') throw moved();
  return inode;
}

/** Does the same as {@link changePlaced}, and makes the inode an object of its own. Returns its reference. */
export async function changeAsObject<Kind extends LinkableInode>(
  parts: PlaceParts,
  place: FilePlace,
  change: (inode: Kind) => InodeChange<Kind>,
): Promise<ObjectReference> {
  const { reference } = await changeAnywhere(parts, place, change, true);
  if (reference === undefined) throw new NetsealError('EBUG', 'an inode was not made an object');
  return reference;
}

async function changeAnywhere<Kind extends LinkableInode>(
  parts: PlaceParts,
  place: FilePlace,
  change: (inode: Kind) => InodeChange<Kind>,
  asObject: boolean,
): Promise<ChangedPlace<Kind>> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await tryChange(parts, place, change, asObject);
    } catch (error) {
      if (!(error instanceof ChangedError) || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}

/**
 * Makes an embedded inode an object of its own, unless another client changes it meanwhile. This is best
 * effort: if the store fails, the next commit will report that.
 */
export async function promotePlaced(parts: PlaceParts, place: FilePlace): Promise<void> {
  try {
    const entry = await place.directory.find(place.name);
    if (entry === undefined || entry.node.kind === 'object' || idOfEntry(entry) !== place.id) return;
    await tryChange<LinkableInode>(parts, place, () => ({ patch: {} }), true);
  } catch (error) {
    if (!isNetsealError(error)) throw error;
  }
}

async function tryChange<Kind extends LinkableInode>(
  parts: PlaceParts,
  place: FilePlace,
  change: (inode: Kind) => InodeChange<Kind>,
  asObject: boolean,
): Promise<ChangedPlace<Kind>> {
  const { directory, name, id } = place;
  if (place.object !== undefined) return await changeObject(parts.inodes, place.object, change);
  const changed = await parts.moves.applySettled(directory, async draft => {
    const entry = await draft.findSettled(name);
    if (entry === undefined || idOfEntry(entry) !== id) throw moved();
    if (entry.node.kind === 'object') return { reference: entry.node };
    if (entry.node.inode.type === 'directory') throw moved();
    const base = entry.node.inode as Kind;
    const { patch, segments: needed = [] } = change(base);
    const segments = [...needed];
    const inode = { ...base, ...patch, version: base.version + 1 };
    if (asObject || !isEmbeddable(inode)) return { outgrown: { inode, segments } };
    draft.needs(segments);
    draft.replace({ name, node: { kind: 'embedded', inode } }, { keepTimes: true });
    return { inode };
  });
  if (changed.reference !== undefined) return await changeObject(parts.inodes, changed.reference, change);
  if (changed.outgrown === undefined) return { inode: changed.inode };
  const reference = await outgrow(parts, place, changed.outgrown);
  return { inode: changed.outgrown.inode, reference };
}

async function changeObject<Kind extends LinkableInode>(
  inodes: Inodes,
  reference: ObjectReference,
  change: (inode: Kind) => InodeChange<Kind>,
): Promise<ChangedPlace<Kind>> {
  const inode = await inodes.get(keyOfReference(reference)).apply(draft => {
    const { patch, segments = [] } = change(draft.inode as Kind);
    draft.needs(segments);
    draft.update(patch);
    return { ...draft.inode, version: draft.inode.version + 1 } as Kind;
  });
  return { inode, reference };
}

/**
 * Makes an embedded inode an object, in two steps. First the object is put into the store under a fresh key,
 * then the entry is changed to lead to it. The second step is the commit.
 *
 * Other clients may do the same at the same time, each under a key of its own. The entry's version decides:
 * only the first of them finds the version that it began with.
 */
async function outgrow(
  { session, moves }: PlaceParts,
  { directory, name, id }: FilePlace,
  { inode, segments }: Outgrown,
): Promise<ObjectReference> {
  const [node] = await Promise.all([putObject(session, inode), makeDurable(session, segments)]);
  await moves.applySettled(directory, async draft => {
    const entry = await draft.findSettled(name);
    if (entry === undefined || idOfEntry(entry) !== id) throw moved();
    if (entry.node.kind === 'object' || entry.node.inode.version !== inode.version - 1)
      throw new ChangedError();
    draft.needs(segments);
    draft.replace({ name, node }, { keepTimes: true });
  });
  return node;
}

/** An embedded inode that has to become an object. */
interface Outgrown {
  readonly inode: LinkableInode;
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
