/**
 * The operations on names. Each call commits the directory that it changes; calls at the same time share a
 * commit.
 */
import { bestEffort } from '../../base/best-effort.ts';
import { codeOf, isNetsealError, NetsealError, requireArgument } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import {
  type Attributes,
  type DeviceInode,
  type DirectoryEntry,
  type DirectoryInode,
  type EntryNode,
  type FileInode,
  type Inode,
  type LinkableInode,
  MODE_MAX,
  type PipeInode,
  type SymlinkInode,
} from '../../server/sealed/inode.ts';
import { checkEncodable, TARGET_BYTES_MAX } from '../../server/sealed/inode-body.ts';
import { EMPTY_NAMES } from '../../server/sealed/name-tree.ts';
import { EMPTY_MAP } from '../../server/sealed/unit-map.ts';
import { nowNs, type Session } from '../session/session.ts';
import type { Directory } from './directory.ts';
import type { ChangeOptions, Draft } from './draft.ts';
import { changeAsObject, changePlaced, isEmbeddable, type PlaceParts, placeInode } from './file-place.ts';
import type { Inodes } from './inodes.ts';
import { changeLinkCount, dropLink } from './link-count.ts';
import { LiveNames, type NamePlace } from './live-names.ts';
import type { Moves } from './moves.ts';
import { checkName } from './name-checks.ts';
import { idOfEntry, idOfNode, typeOfEntry, typeOfNode } from './references.ts';
import { noEntry, Removals } from './removals.ts';
import { Renames } from './renames.ts';
import { alreadyThere, requireReplaceable, whyNotReplaceable } from './replaceable.ts';

export interface PutOptions extends ChangeOptions {
  /** Replaces a file or symlink that has the name; otherwise EEXIST. */
  readonly replace?: boolean | undefined;
  /** Segments that must be durable before the commit. */
  readonly segments?: Iterable<Id> | undefined;
  /**
   * Called with what has the name now, within the commit. What it rejects with, the call rejects with, and
   * nothing is changed. Called again when another client was first.
   */
  readonly check?: ((present: DirectoryEntry | undefined) => Promise<void>) | undefined;
}

/** A name for something new that is no directory. */
export interface NewName {
  readonly name: Name;
  readonly inode: LinkableInode;
  /** Segments that must be durable before the commit. */
  readonly segments: Iterable<Id>;
}

/** A new name, and the node that it will have, or why it cannot have one. */
interface PlacedName {
  readonly name: Name;
  readonly node: EntryNode | NetsealError;
}

/** Beyond so many directories, those whose names were changed once are forgotten. */
const CHANGED_MAX = 65_536;

export class Namespace {
  readonly #session: Session;
  readonly #inodes: Inodes;
  readonly #moves: Moves;
  readonly #live: LiveNames;
  readonly #removals: Removals;
  readonly #renames: Renames;
  /** The embedded directories whose names were changed once in this session. */
  readonly #changedOnce = new Set<Id>();

  constructor(session: Session, inodes: Inodes, moves: Moves) {
    this.#session = session;
    this.#inodes = inodes;
    this.#moves = moves;
    this.#live = new LiveNames(inodes, moves);
    this.#removals = new Removals(session, inodes, moves, this.#live);
    this.#renames = new Renames(session, inodes, moves, this.#live, this.#removals);
  }

  /** See {@link LiveNames.find}. */
  find(directory: Directory, name: Name, maxAgeMs?: number): Promise<DirectoryEntry | undefined> {
    return this.#live.find(directory, name, maxAgeMs);
  }

  /** See {@link LiveNames.entries}. */
  entries(
    directory: Directory,
    options: { readonly isWalk?: boolean } = {},
  ): AsyncGenerator<readonly DirectoryEntry[]> {
    return this.#live.entries(directory, options);
  }

  /** Returns an inode for a new, empty file. */
  newFile(attributes: Attributes, unitSizeBytes: number = this.#session.settings.unitSizeBytes): FileInode {
    return {
      ...this.#newInode(attributes),
      type: 'file',
      linkCount: 1,
      sizeBytes: 0,
      unitSizeBytes,
      storedBytes: 0,
      map: EMPTY_MAP,
    };
  }

  /** Returns an inode for a new symlink. EINVAL for a target that cannot be one. */
  newSymlink(attributes: Attributes, target: Uint8Array): SymlinkInode {
    requireArgument(
      target.byteLength > 0 && target.byteLength <= TARGET_BYTES_MAX && !target.includes(0),
      `a symbolic link leads to 1 to ${TARGET_BYTES_MAX} bytes without NUL, not ${target.byteLength}`,
    );
    return { ...this.#newInode(attributes), type: 'symlink', linkCount: 1, target: new Uint8Array(target) };
  }

  /** Returns an inode for a new FIFO or socket. */
  newPipe(attributes: Attributes, type: PipeInode['type']): PipeInode {
    return { ...this.#newInode(attributes), type, linkCount: 1 };
  }

  /** Returns an inode for a new device. EINVAL for one whose numbers are larger than 2^32 - 1. */
  newDevice(
    attributes: Attributes,
    { type, major, minor }: Pick<DeviceInode, 'type' | 'major' | 'minor'>,
  ): DeviceInode {
    const inode: DeviceInode = { ...this.#newInode(attributes), type, linkCount: 1, major, minor };
    checkEncodable(inode);
    return inode;
  }

  /**
   * Returns a new directory, in memory only. {@link insertDirectory} puts it into the store: embedded, unless
   * it does not fit or has been put already. Its first commit puts it as an object of its own.
   *
   * @param parent the key of the parent's object. If the directory will be embedded, it does not matter.
   */
  newDirectory(attributes: Attributes, parent: Id): Directory {
    return this.#inodes.unbornDirectory({ ...this.#newDirectoryInode(attributes), parent });
  }

  /**
   * Returns a new directory that will have a name, in memory only. Its first commit, or `Directory.create`,
   * puts it and all new directories above it into the store, in one step with that change. EEXIST then, if
   * the name is taken.
   *
   * If its attributes do not fit into its host, it will be an object: {@link insertDirectory} must link it.
   */
  newDirectoryAt(
    { directory, name }: NamePlace,
    attributes: Attributes,
    options: ChangeOptions = {},
  ): Directory {
    checkName(name);
    const inode = { ...this.#newDirectoryInode(attributes), parent: undefined };
    if (!isEmbeddable(inode)) return this.newDirectory(attributes, directory.path.live.key);
    const insert = async (draft: Draft): Promise<void> => {
      const found = await this.#live.findLive(draft, name);
      if (found?.isLive === true) throw alreadyThere();
      const entry = { name, node: { kind: 'embedded', inode } } as const;
      if (found === undefined) draft.insert(entry, options);
      else draft.replace(entry, options);
    };
    return this.#inodes.unbornEmbedded(directory, name, { inode, insert });
  }

  /**
   * Does a program's change of names in a directory. With the second one in a session, an embedded directory
   * becomes an object, in the same commit: so its host is not written each time. Copies of trees do not
   * count.
   */
  async changing<Result>(directory: Directory, change: () => Promise<Result>): Promise<Result> {
    const { id } = directory;
    if (this.#changedOnce.has(id)) directory.leaveHost();
    const result = await change();
    if (directory.isEmbedded) {
      if (this.#changedOnce.size === CHANGED_MAX) this.#changedOnce.clear();
      this.#changedOnce.add(id);
    }
    return result;
  }

  #newDirectoryInode(attributes: Attributes): Omit<DirectoryInode, 'parent'> {
    return {
      ...this.#newInode(attributes),
      type: 'directory',
      entryCount: 0,
      subdirectoryCount: 0,
      isDead: false,
      arrivals: [],
      nextIndex: 0,
      tree: EMPTY_NAMES,
    };
  }

  /** Gives a name to something new that is no directory. EEXIST; EISDIR when a directory has the name. */
  async insert(
    directory: Directory,
    name: Name,
    inode: LinkableInode,
    options: PutOptions = {},
  ): Promise<void> {
    checkName(name);
    const node = await this.place(inode);
    await this.#settled([{ directory, name }], () => this.insertNode(directory, name, node, options));
  }

  /**
   * Returns the node of a new inode, for {@link insertNode}. An inode that cannot be embedded, as
   * one of several names, is put into the store first.
   */
  place(inode: LinkableInode): Promise<EntryNode> {
    return placeInode(this.#session, inode);
  }

  /** Gives a name to a new node. If the name leads to that node already, nothing is changed. */
  async insertNode(
    directory: Directory,
    name: Name,
    node: EntryNode,
    options: PutOptions = {},
  ): Promise<void> {
    await this.#insertNode(directory, name, node, options, true);
  }

  async #insertNode(
    directory: Directory,
    name: Name,
    node: EntryNode,
    options: PutOptions,
    isNew: boolean,
  ): Promise<void> {
    checkName(name);
    await this.#inodes.openPlaces.during(this.#tryInsertNode(directory, name, node, options, isNew));
  }

  async #tryInsertNode(
    directory: Directory,
    name: Name,
    node: EntryNode,
    options: PutOptions,
    isNew: boolean,
  ): Promise<void> {
    const segments = [...(options.segments ?? [])];
    const replaced = await this.#moves.applySettled(directory, async draft => {
      const found = await this.#live.findLive(draft, name);
      if (found?.isLive === true) {
        // An earlier attempt has given the name, and its answer was lost.
        if (isNew && idOfEntry(found.entry) === idOfNode(node)) return undefined;
        await options.check?.(found.entry);
        if (typeOfNode(node) === 'directory') throw alreadyThere();
        requireReplaceable(found.entry, options.replace === true);
      } else {
        await options.check?.(undefined);
      }
      draft.needs(segments);
      if (found === undefined) draft.insert({ name, node }, options);
      else draft.replace({ name, node }, options);
      promoteFor(draft, { name, node });
      return found?.isLive === true ? found.entry : undefined;
    });
    if (replaced !== undefined) await dropLink(this.#session, this.#inodes, replaced);
  }

  /**
   * Gives names to many new inodes, none of them a directory's, in one change. Copies of trees use it. One
   * that fails does not stop the others.
   *
   * @returns for each in order its error, as {@link insert} would throw it; undefined where the name is there
   *   now. Rejects when nothing was changed at all.
   */
  async insertMany(
    directory: Directory,
    items: readonly NewName[],
    options: ChangeOptions & { readonly replace?: boolean | undefined } = {},
  ): Promise<(NetsealError | undefined)[]> {
    const placed = await Promise.all(
      items.map(async item => ({ name: item.name, node: await this.#tryPlace(item) })),
    );
    const needed = new Set(items.flatMap(({ segments }) => [...segments]));
    const places = items.map(({ name }) => ({ directory, name }));
    return await this.#settled(places, () =>
      this.#inodes.openPlaces.during(this.#insertPlaced(directory, placed, needed, options)),
    );
  }

  async #insertPlaced(
    directory: Directory,
    placed: readonly PlacedName[],
    needed: ReadonlySet<Id>,
    options: ChangeOptions & { readonly replace?: boolean | undefined },
  ): Promise<(NetsealError | undefined)[]> {
    const { failures, replaced } = await this.#moves.applySettled(directory, async draft => {
      const outcome: { failures: (NetsealError | undefined)[]; replaced: DirectoryEntry[] } = {
        failures: [],
        replaced: [],
      };
      draft.needs(needed);
      for (const item of placed)
        outcome.failures.push(await this.#insertOne(draft, item, options, outcome.replaced));
      return outcome;
    });
    for (const entry of replaced) await dropLink(this.#session, this.#inodes, entry);
    return failures;
  }

  /** Places a node, or returns EINVAL for a name or inode that cannot be stored. */
  async #tryPlace({ name, inode }: NewName): Promise<EntryNode | NetsealError> {
    try {
      checkName(name);
      return await this.place(inode);
    } catch (error) {
      if (isNetsealError(error) && error.code === 'EINVAL') return error;
      throw error;
    }
  }

  /** Inserts one name. Returns its error, if any, and adds a replaced entry to `replaced`. */
  async #insertOne(
    draft: Draft,
    { name, node }: PlacedName,
    options: ChangeOptions & { readonly replace?: boolean | undefined },
    replaced: DirectoryEntry[],
  ): Promise<NetsealError | undefined> {
    if (isNetsealError(node)) return node;
    const found = await this.#live.findLive(draft, name);
    const there = found?.isLive === true ? found.entry : undefined;
    if (there !== undefined && idOfEntry(there) === idOfNode(node)) return undefined;
    const failure = there === undefined ? undefined : whyNotReplaceable(there, options.replace === true);
    if (failure !== undefined) return failure;
    try {
      if (found === undefined) draft.insert({ name, node }, options);
      else draft.replace({ name, node }, options);
    } catch (error) {
      if (isNetsealError(error) && error.code === 'EINVAL') return error;
      throw error;
    }
    if (there !== undefined) replaced.push(there);
    return undefined;
  }

  /**
   * Puts a directory made by {@link newDirectory} into the store, if it is not there, and gives it a name.
   * EEXIST.
   */
  async insertDirectory(
    parent: Directory,
    name: Name,
    child: Directory,
    options: ChangeOptions = {},
  ): Promise<void> {
    checkName(name);
    await this.#settled([{ directory: parent, name }], () =>
      this.#insertDirectory(parent, name, child, options),
    );
  }

  async #insertDirectory(
    parent: Directory,
    name: Name,
    child: Directory,
    options: ChangeOptions,
  ): Promise<void> {
    if (child.isUnborn) {
      const inode = { ...(await child.read()), parent: undefined };
      await this.insertNode(parent, name, { kind: 'embedded', inode }, options);
      if (!child.isEmbedded) this.#inodes.forget(child.key);
      child.becomeEmbedded(parent, name);
      return;
    }
    await this.#moves.promote(parent);
    const { id, key } = child;
    await child.apply(draft => {
      // The parent that it was made for has become an object since.
      if (draft.directory.parent !== parent.key) draft.update({ parent: parent.key });
    });
    await this.insertNode(parent, name, { kind: 'object', id, key, type: 'directory' }, options);
  }

  /** Removes a name of anything but a directory. ENOENT, EISDIR. */
  async unlink(directory: Directory, name: Name): Promise<void> {
    if (this.#inodes.unbornNames.drop({ directory, name })) return;
    await this.#settled([{ directory, name }], () =>
      this.#inodes.openPlaces.during(this.#unlink(directory, name)),
    );
  }

  async #unlink(directory: Directory, name: Name): Promise<void> {
    const removed = await this.#moves.applySettled(directory, async draft => {
      const found = await this.#live.findLive(draft, name);
      if (found?.isLive !== true) throw noEntry();
      if (typeOfEntry(found.entry) === 'directory') throw new NetsealError('EISDIR', 'this is a folder');
      draft.remove(name);
      return found.entry;
    });
    await dropLink(this.#session, this.#inodes, removed);
  }

  /** Removes an empty directory. ENOENT, ENOTDIR, ENOTEMPTY. */
  async rmdir(directory: Directory, name: Name): Promise<void> {
    await this.#requireNoneUnborn({ directory, name });
    await this.#settled([{ directory, name }], () => this.#removals.rmdir(directory, name));
  }

  /** See {@link Removals.removeTree}. */
  async removeTree(directory: Directory, name: Name): Promise<number | undefined> {
    await this.#inodes.unbornNames.settleAll();
    return await this.#inodes.openPlaces.during(this.#removals.removeTree(directory, name));
  }

  /** Gives a file another name. EEXIST, unless a file is to be replaced; EINVAL for a directory. */
  async link(
    source: { readonly directory: Directory; readonly name: Name },
    directory: Directory,
    name: Name,
    options: PutOptions = {},
  ): Promise<void> {
    checkName(name);
    await this.#settled([source, { directory, name }], () => this.#link(source, directory, name, options));
  }

  async #link(source: NamePlace, directory: Directory, name: Name, options: PutOptions): Promise<void> {
    const entry = await this.#live.find(source.directory, source.name);
    if (entry === undefined) throw noEntry();
    requireArgument(typeOfEntry(entry) !== 'directory', 'a folder cannot have a second name');
    const there = await this.#live.find(directory, name);
    if (there !== undefined) requireReplaceable(there, options.replace === true);
    const id = idOfEntry(entry);
    if (there !== undefined && idOfEntry(there) === id) return;
    const place = { directory: source.directory, name: source.name, id };
    // The count comes before the name: a crash in between leaves a count that is too high, which does no
    // harm.
    const node = await changeAsObject<LinkableInode>(this.#parts, place, ({ linkCount }) => ({
      patch: { linkCount: linkCount + 1, ctimeNs: nowNs(this.#session) },
    }));
    this.#inodes.openPlaces.becameObject(node);
    try {
      await this.#insertNode(directory, name, node, options, false);
    } catch (error) {
      // If the name may be there, the count stays: too high is better than too low.
      if (codeOf(error) !== 'EUNCERTAIN')
        await bestEffort(changeLinkCount(this.#session, this.#inodes, node, -1));
      throw error;
    }
  }

  /** See {@link Renames.rename}. */
  async rename(
    source: NamePlace,
    target: NamePlace,
    options: { readonly replace?: boolean } = {},
  ): Promise<void> {
    await this.#requireNoneUnborn(target);
    await this.#settled([source, target], () =>
      this.#inodes.openPlaces.during(this.#renames.rename(source, target, options)),
    );
  }

  /**
   * Changes attributes of what an entry leads to. Returns its inode afterwards.
   *
   * @param ctimeNs the status time that it gets. Default: now.
   */
  async setAttributes(
    directory: Directory,
    entry: DirectoryEntry,
    attributes: Partial<Attributes>,
    ctimeNs: bigint = nowNs(this.#session),
  ): Promise<Inode> {
    if (typeOfEntry(entry) === 'directory') {
      return await this.setDirectoryAttributes(this.directoryOf(directory, entry), attributes, ctimeNs);
    }
    const patch = { ...attributes, ctimeNs };
    const place = { directory, name: entry.name, id: idOfEntry(entry) };
    await this.#inodes.unbornNames.settleFile(place.id);
    return await changePlaced<LinkableInode>(this.#parts, place, () => ({ patch }));
  }

  /** Changes attributes of a directory, as {@link setAttributes} does. */
  async setDirectoryAttributes(
    directory: Directory,
    attributes: Partial<Attributes>,
    ctimeNs: bigint = nowNs(this.#session),
  ): Promise<DirectoryInode> {
    return await this.#moves.applySettled(directory, draft => {
      draft.update({ ...attributes, ctimeNs });
      // The attributes may not fit into the host any more: then the directory becomes an object.
      if (draft.directory.parent === undefined && !isEmbeddable(draft.directory)) draft.promote();
      return draft.directory;
    });
  }

  /** Returns the directory that an entry leads to. ENOTDIR for an entry that leads to anything else. */
  directoryOf(parent: Directory, entry: DirectoryEntry): Directory {
    return this.#inodes.directoryOf(parent, entry);
  }

  /** Changes names, after committing open files that are about to get one of them. */
  #settled<Result>(places: readonly NamePlace[], change: () => Promise<Result>): Promise<Result> {
    return this.#inodes.unbornNames.changing(places, change);
  }

  /** Throws ENOTEMPTY for the name of a directory with files that are open here and not in the store yet. */
  async #requireNoneUnborn({ directory, name }: NamePlace): Promise<void> {
    const { unbornNames } = this.#inodes;
    if (unbornNames.isEmpty) return;
    const entry = await this.#live.find(directory, name);
    if (entry === undefined || !unbornNames.hasAnyIn(idOfEntry(entry))) return;
    throw new NetsealError('ENOTEMPTY', 'the folder holds new files that are open');
  }

  get #parts(): PlaceParts {
    return { session: this.#session, inodes: this.#inodes, moves: this.#moves };
  }

  #newInode(attributes: Attributes): Attributes & {
    id: Id;
    version: number;
    dataVersion: number;
    ctimeNs: bigint;
    birthNs: bigint;
  } {
    const { mode, uid, gid, mtimeNs, atimeNs, xattrs } = attributes;
    requireArgument(Number.isInteger(mode) && mode >= 0 && mode <= MODE_MAX, `not a mode: ${mode}`);
    const time = nowNs(this.#session);
    return {
      mode,
      uid,
      gid,
      mtimeNs,
      ...(atimeNs === undefined ? {} : { atimeNs }),
      xattrs,
      id: randomId(),
      version: 0,
      dataVersion: 0,
      ctimeNs: time,
      birthNs: time,
    };
  }
}

/** Makes objects of those directories that cannot be embedded once an entry was put into a draft. */
function promoteFor(draft: Draft, { name, node }: DirectoryEntry): void {
  if (typeOfNode(node) !== 'directory') return;
  // The parent of a folder object is an object.
  if (node.kind === 'object') draft.promote();
  else if (!isEmbeddable(node.inode)) draft.open({ name, node }).promote();
}
