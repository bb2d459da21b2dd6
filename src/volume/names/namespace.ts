/**
 * The operations on names. Each call commits the directory that it changes; calls at the same time share a
 * commit.
 */
import { codeOf, isNetsealError, NetsealError, requireArgument } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type {
  Attributes,
  DeviceInode,
  DirectoryEntry,
  DirectoryInode,
  EntryNode,
  FileInode,
  Inode,
  LinkableInode,
  ObjectReference,
  PipeInode,
  SymlinkInode,
} from '../../server/sealed/inode.ts';
import { checkEncodable, TARGET_BYTES_MAX } from '../../server/sealed/inode-body.ts';
import { EMPTY_NAMES } from '../../server/sealed/name-tree.ts';
import { EMPTY_MAP } from '../../server/sealed/unit-map.ts';
import { nowNs, type Session } from '../session/session.ts';
import { type Directory, OtherHostError } from './directory.ts';
import type { ChangeOptions, Draft } from './draft.ts';
import { changeAsObject, changePlaced, isEmbeddable, type PlaceParts, placeInode } from './file-place.ts';
import { type Inodes, idOfEntry, typeOfEntry } from './inodes.ts';
import { type Arrive, bestEffort, type Moves } from './moves.ts';
import { checkName } from './name-checks.ts';
import { keyOfEntry, keyOfReference } from './references.ts';
import { noEntry, Removals, requireEmpty } from './removals.ts';

export interface PutOptions extends ChangeOptions {
  /** Replaces a file or symlink that has the name; otherwise EEXIST. */
  readonly replace?: boolean | undefined;
  /** Segments that must be durable before the commit. */
  readonly segments?: Iterable<Id> | undefined;
}

/** A name for something new that is no directory. */
export interface NewName {
  readonly name: Name;
  readonly inode: LinkableInode;
  /** Segments that must be durable before the commit. */
  readonly segments: Iterable<Id>;
}

/** A directory, and a name in it. */
interface Place {
  readonly directory: Directory;
  readonly name: Name;
}

/** How often a rename begins anew because a folder has become an object. */
const ATTEMPTS_MAX = 16;
/** Beyond so many directories, those whose names were changed once are forgotten. */
const CHANGED_MAX = 65_536;

export class Namespace {
  readonly #session: Session;
  readonly #inodes: Inodes;
  readonly #moves: Moves;
  readonly #removals: Removals;
  /** The embedded directories whose names were changed once in this session. */
  readonly #changedOnce = new Set<Id>();

  constructor(session: Session, inodes: Inodes, moves: Moves) {
    this.#session = session;
    this.#inodes = inodes;
    this.#moves = moves;
    this.#removals = new Removals(inodes, moves);
  }

  /** Returns the entry that a name leads to now; undefined when there is none. */
  async find(directory: Directory, name: Name): Promise<DirectoryEntry | undefined> {
    const entry = await directory.find(name);
    if (entry === undefined) return undefined;
    this.#inodes.notePlace(directory, entry);
    return (await this.#removals.isLive(entry)) ? entry : undefined;
  }

  /**
   * Yields the entries of a directory, ascending, many at a time. They may include a directory whose removal
   * was not finished: {@link find} does not find it, and reading it throws ENOENT. `isWalk` as in
   * `Directory.entries`.
   */
  async *entries(
    directory: Directory,
    options: { readonly isWalk?: boolean } = {},
  ): AsyncGenerator<readonly DirectoryEntry[]> {
    for await (const entries of directory.entries(options)) {
      const departing = new Set<DirectoryEntry>();
      for (const entry of entries) {
        this.#inodes.notePlace(directory, entry);
        if (entry.departure !== undefined && !(await this.#moves.isHere(entry))) departing.add(entry);
      }
      yield departing.size === 0 ? entries : entries.filter(entry => !departing.has(entry));
    }
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
  newDirectoryAt({ directory, name }: Place, attributes: Attributes, options: ChangeOptions = {}): Directory {
    checkName(name);
    const inode = { ...this.#newDirectoryInode(attributes), parent: undefined };
    if (!isEmbeddable(inode)) return this.newDirectory(attributes, directory.path.live.key);
    const insert = async (draft: Draft): Promise<void> => {
      const found = await this.#findLive(draft, name);
      if (found?.isLive === true) throw alreadyThere();
      const entry = { name, node: { kind: 'embedded', inode } } as const;
      if (found === undefined) draft.insert(entry, options);
      else draft.replace(entry, options);
    };
    return this.#inodes.unbornEmbedded(directory, name, { inode, insert });
  }

  /**
   * Notes that a program has changed names of a directory. An embedded one becomes an object with the second
   * change in a session, so that its host is not written each time. Copies of trees do not call this.
   *
   * This is best effort: if the store fails, the next change will report that.
   */
  async noteChange(directory: Directory): Promise<void> {
    if (!directory.isEmbedded) return;
    const { id } = directory;
    if (!this.#changedOnce.has(id)) {
      this.#changedOnce.add(id);
      if (this.#changedOnce.size > CHANGED_MAX) this.#changedOnce.clear();
      return;
    }
    await bestEffort(this.#moves.promote(directory));
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
    await this.insertNode(directory, name, node, options);
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
    // The parent of a folder object is an object.
    if (node.kind === 'object' && node.type === 'directory') await this.#moves.promote(directory);
    const segments = [...(options.segments ?? [])];
    const replaced = await this.#moves.applySettled(directory, async draft => {
      const found = await this.#findLive(draft, name);
      if (found?.isLive === true) {
        // An earlier attempt has done it, and its answer was lost.
        if (isNew && idOfEntry(found.entry) === idOfNode(node)) return undefined;
        if (typeOfNode(node) === 'directory') throw alreadyThere();
        requireReplaceable(found.entry, options.replace === true);
      }
      draft.needs(segments);
      if (found === undefined) draft.insert({ name, node }, options);
      else draft.replace({ name, node }, options);
      return found?.isLive === true ? found.entry : undefined;
    });
    if (replaced !== undefined) await this.#dropLink(replaced);
  }

  /**
   * Gives names to much that is new, directories excepted, in one change. Copies of trees use it. One that
   * fails does not stop the others.
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
    for (const entry of replaced) await this.#dropLink(entry);
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
    { name, node }: { readonly name: Name; readonly node: EntryNode | NetsealError },
    options: ChangeOptions & { readonly replace?: boolean | undefined },
    replaced: DirectoryEntry[],
  ): Promise<NetsealError | undefined> {
    if (isNetsealError(node)) return node;
    const found = await this.#findLive(draft, name);
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
    const inode = { ...(await child.read()), parent: undefined };
    if (child.isUnborn && isEmbeddable(inode)) {
      await this.insertNode(parent, name, { kind: 'embedded', inode }, options);
      if (!child.isEmbedded) this.#inodes.forget(child.key);
      child.becomeEmbedded(parent, name);
      return;
    }
    await this.#moves.promote(parent);
    const { id, key } = child;
    await child.apply(draft => {
      // It was made for a parent that has become an object since.
      if (child.isUnborn || draft.directory.parent !== parent.key) draft.update({ parent: parent.key });
    });
    await this.insertNode(parent, name, { kind: 'object', id, key, type: 'directory' }, options);
  }

  /** Removes a name of anything but a directory. ENOENT, EISDIR. */
  async unlink(directory: Directory, name: Name): Promise<void> {
    const removed = await this.#moves.applySettled(directory, async draft => {
      const found = await this.#findLive(draft, name);
      if (found?.isLive !== true) throw noEntry();
      if (typeOfEntry(found.entry) === 'directory') throw new NetsealError('EISDIR', 'this is a folder');
      draft.remove(name);
      return found.entry;
    });
    await this.#dropLink(removed);
  }

  /** Removes an empty directory. ENOENT, ENOTDIR, ENOTEMPTY. */
  rmdir(directory: Directory, name: Name): Promise<void> {
    return this.#removals.rmdir(directory, name);
  }

  /** Gives a file another name. EEXIST, unless a file is to be replaced; EINVAL for a directory. */
  async link(
    source: { readonly directory: Directory; readonly name: Name },
    directory: Directory,
    name: Name,
    options: PutOptions = {},
  ): Promise<void> {
    checkName(name);
    const entry = await this.find(source.directory, source.name);
    if (entry === undefined) throw noEntry();
    requireArgument(typeOfEntry(entry) !== 'directory', 'a folder cannot have a second name');
    const there = await this.find(directory, name);
    if (there !== undefined) requireReplaceable(there, options.replace === true);
    const id = idOfEntry(entry);
    if (there !== undefined && idOfEntry(there) === id) return;
    const place = { directory: source.directory, name: source.name, id };
    // The count comes before the name: a crash in between leaves a count that is too high, which does no
    // harm.
    const node = await changeAsObject<LinkableInode>(this.#parts, place, ({ linkCount }) => ({
      patch: { linkCount: linkCount + 1, ctimeNs: nowNs(this.#session) },
    }));
    try {
      await this.#insertNode(directory, name, node, options, false);
    } catch (error) {
      // If the name may be there, the count stays: too high is better than too low.
      if (codeOf(error) !== 'EUNCERTAIN') await bestEffort(this.#changeLinkCount(node, -1));
      throw error;
    }
  }

  /**
   * Moves a name. It replaces a file or an empty directory, as in POSIX.
   *
   * Rejects with ENOENT, EISDIR, ENOTDIR, ENOTEMPTY; EINVAL when a folder would be moved into itself; EEXIST
   * if `replace` is false and the name is taken.
   */
  async rename(
    source: Place,
    target: Place,
    { replace = true }: { readonly replace?: boolean } = {},
  ): Promise<void> {
    checkName(target.name);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#rename(source, target, replace);
        return;
      } catch (error) {
        if (!(error instanceof OtherHostError) || attempt === ATTEMPTS_MAX) throw error;
      }
    }
  }

  /** Rejects with {@link OtherHostError} when one of the folders has become an object meanwhile. */
  async #rename(source: Place, target: Place, replace: boolean): Promise<void> {
    const entry = await this.find(source.directory, source.name);
    if (entry === undefined) throw noEntry();
    if (entry.departure !== undefined) await this.#moves.settle(source.directory, entry);
    const there = await this.find(target.directory, target.name);
    // Both are names of one file: POSIX leaves both.
    if (there !== undefined && idOfEntry(there) === idOfEntry(entry)) {
      // But another client may have renamed one to the other just now.
      if ((await this.find(source.directory, source.name)) === undefined) throw noEntry();
      return;
    }
    requireNotBelow(entry, target.directory);
    if (there !== undefined) await this.#clearTarget(entry, there, target.directory, replace);
    let replaced: DirectoryEntry | undefined;
    const arrive = async (draft: Draft, arriving: DirectoryEntry): Promise<void> => {
      replaced = await this.#arrive(draft, arriving, replace);
    };
    if (isObjectDirectory(entry) && target.directory.isEmbedded) {
      await this.#moves.requireOutside(keyOfEntry(entry), target.directory.path.live.key);
      // The parent of a folder object is an object.
      await this.#moves.promote(target.directory);
    }
    if (source.directory.path.live === target.directory.path.live) {
      await this.#renameInHost(source, target, entry, arrive);
    } else {
      await this.#moves.promote(source.directory);
      await this.#moves.promote(target.directory);
      await this.#moves.move(source.directory, entry, target, arrive);
    }
    if (replaced !== undefined) await this.#dropLink(replaced);
  }

  /** Moves a name within one host, in one commit. */
  async #renameInHost(source: Place, target: Place, entry: DirectoryEntry, arrive: Arrive): Promise<void> {
    await this.#moves.applyAllSettled([source.directory, target.directory], async ([from, to]) => {
      if (from === undefined || to === undefined) throw new NetsealError('EBUG', 'a folder was not opened');
      const found = await from.findSettled(source.name);
      if (found === undefined || idOfEntry(found) !== idOfEntry(entry)) throw noEntry();
      if (!(await this.#removals.isLive(found))) throw noEntry();
      if (isObjectDirectory(found) && target.directory.isEmbedded) throw new OtherHostError();
      requireNotBelow(found, target.directory);
      const there = await this.#findLive(to, target.name);
      if (there?.isLive === true && idOfEntry(there.entry) === idOfEntry(found)) return;
      await arrive(to, { ...found, name: target.name });
      from.remove(source.name);
    });
  }

  /**
   * Puts an entry into the draft of its new folder. Returns the entry of a file that it replaces, if there is
   * one.
   */
  async #arrive(
    draft: Draft,
    arriving: DirectoryEntry,
    replace: boolean,
  ): Promise<DirectoryEntry | undefined> {
    const found = await this.#findLive(draft, arriving.name);
    if (found === undefined) {
      draft.insert(arriving);
      return undefined;
    }
    const { entry, isLive } = found;
    if (isLive) {
      if (idOfEntry(entry) === idOfEntry(arriving)) return undefined;
      if (typeOfEntry(arriving) === 'directory') {
        // A folder object that was in the way is dead by now.
        if (entry.node.kind === 'object' || entry.node.inode.type !== 'directory') throw changedMeanwhile();
        if (!replace) throw alreadyThere();
        requireEmpty(draft.open(entry).directory);
      } else {
        if (typeOfEntry(entry) === 'directory') throw changedMeanwhile();
        requireReplaceable(entry, replace);
      }
    }
    draft.replace(arriving);
    return isLive && typeOfEntry(entry) !== 'directory' ? entry : undefined;
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
    return await changePlaced<LinkableInode>(this.#parts, place, () => ({ patch }));
  }

  /** Changes attributes of a directory, as {@link setAttributes} does. */
  async setDirectoryAttributes(
    directory: Directory,
    attributes: Partial<Attributes>,
    ctimeNs: bigint = nowNs(this.#session),
  ): Promise<DirectoryInode> {
    for (;;) {
      const changed = await this.#moves.applySettled(directory, draft => {
        const before = draft.directory;
        if (before.parent === undefined && !isEmbeddable({ ...before, ...attributes, ctimeNs }))
          return undefined;
        draft.update({ ...attributes, ctimeNs });
        return draft.directory;
      });
      if (changed !== undefined) return changed;
      // Its attributes do not fit into its host any more.
      await this.#moves.promote(directory);
    }
  }

  /** Returns the directory that an entry leads to. ENOTDIR for an entry that leads to anything else. */
  directoryOf(parent: Directory, entry: DirectoryEntry): Directory {
    return this.#inodes.directoryOf(parent, entry);
  }

  /** Checks that a rename may replace an entry, and declares a directory in its way dead if that is empty. */
  async #clearTarget(
    entry: DirectoryEntry,
    there: DirectoryEntry,
    directory: Directory,
    replace: boolean,
  ): Promise<void> {
    if (!replace) throw alreadyThere();
    const isDirectory = typeOfEntry(entry) === 'directory';
    const isThereDirectory = typeOfEntry(there) === 'directory';
    if (isDirectory && !isThereDirectory) throw new NetsealError('ENOTDIR', 'a folder cannot replace a file');
    if (!isDirectory && isThereDirectory) throw new NetsealError('EISDIR', 'a file cannot replace a folder');
    // An embedded directory is replaced in one step.
    if (!isObjectDirectory(there)) return;
    if (isObjectDirectory(entry)) await this.#moves.requireOutside(keyOfEntry(entry), directory.key);
    try {
      // The directory is empty, so nothing is lost if the rename then fails.
      await this.#removals.kill(keyOfEntry(there));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }

  /** Returns an entry, and whether it counts: one that leads to a dead directory does not. */
  async #findLive(
    draft: Draft,
    name: Name,
  ): Promise<{ readonly entry: DirectoryEntry; readonly isLive: boolean } | undefined> {
    const entry = await draft.findSettled(name);
    return entry === undefined ? undefined : { entry, isLive: await this.#removals.isLive(entry) };
  }

  /** Lowers the link count of a file that has lost a name. gc finds files without names by itself. */
  async #dropLink({ node }: DirectoryEntry): Promise<void> {
    // A failure is no error: the name is gone already, and a count that is too high does no harm.
    if (node.kind === 'object' && node.type !== 'directory') {
      await bestEffort(this.#changeLinkCount(node, -1));
    }
  }

  get #parts(): PlaceParts {
    return { session: this.#session, inodes: this.#inodes, moves: this.#moves };
  }

  async #changeLinkCount(node: ObjectReference, difference: number): Promise<void> {
    await this.#inodes.get(keyOfReference(node)).apply(draft => {
      const { inode } = draft;
      if (inode.type === 'directory' || inode.linkCount + difference < 1) return;
      draft.update({ linkCount: inode.linkCount + difference, ctimeNs: nowNs(this.#session) });
    });
  }

  #newInode(attributes: Attributes): Attributes & {
    id: Id;
    version: number;
    dataVersion: number;
    ctimeNs: bigint;
    birthNs: bigint;
  } {
    const { mode, uid, gid, mtimeNs, atimeNs, xattrs } = attributes;
    requireArgument(Number.isInteger(mode) && mode >= 0 && mode <= 0o7777, `not a mode: ${mode}`);
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

function isObjectDirectory({ node }: DirectoryEntry): boolean {
  return node.kind === 'object' && node.type === 'directory';
}

/** Throws EINVAL when a directory lies in the embedded directory of an entry, or is that directory. */
function requireNotBelow(entry: DirectoryEntry, directory: Directory): void {
  const { steps } = directory.path;
  if (steps.some(({ id }) => id === idOfEntry(entry))) {
    throw new NetsealError('EINVAL', 'a folder cannot be moved into itself');
  }
}

function typeOfNode(node: EntryNode): Inode['type'] {
  return node.kind === 'embedded' ? node.inode.type : node.type;
}

function idOfNode(node: EntryNode): Id {
  return node.kind === 'embedded' ? node.inode.id : node.id;
}

function requireReplaceable(entry: DirectoryEntry, replace: boolean): void {
  const failure = whyNotReplaceable(entry, replace);
  if (failure !== undefined) throw failure;
}

function whyNotReplaceable(entry: DirectoryEntry, replace: boolean): NetsealError | undefined {
  if (typeOfEntry(entry) === 'directory') return new NetsealError('EISDIR', 'a folder already has this name');
  return replace ? undefined : alreadyThere();
}

function alreadyThere(): NetsealError {
  return new NetsealError('EEXIST', 'this name is already taken');
}

function changedMeanwhile(): NetsealError {
  return new NetsealError('ECONFLICT', 'another client changed what is there meanwhile: try again');
}
