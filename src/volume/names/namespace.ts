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
import type { Directory } from './directory.ts';
import type { ChangeOptions, Draft } from './draft.ts';
import { changeAsObject, changePlaced, type PlaceParts, placeInode } from './file-place.ts';
import { type Inodes, idOfEntry, typeOfEntry } from './inodes.ts';
import { bestEffort, type Moves } from './moves.ts';
import { checkName } from './name-checks.ts';
import { keyOfEntry, keyOfReference } from './references.ts';
import { noEntry, Removals } from './removals.ts';

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

export class Namespace {
  readonly #session: Session;
  readonly #inodes: Inodes;
  readonly #moves: Moves;
  readonly #removals: Removals;

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
    this.#inodes.notePlace(directory.key, entry);
    return (await this.#removals.isLive(entry)) ? entry : undefined;
  }

  /**
   * Yields the entries of a directory, ascending, many at a time. They may include a directory whose removal
   * was not finished: {@link find} does not find it, and reading it throws ENOENT.
   */
  async *entries(directory: Directory): AsyncGenerator<readonly DirectoryEntry[]> {
    for await (const entries of directory.entries()) {
      const departing = new Set<DirectoryEntry>();
      for (const entry of entries) {
        this.#inodes.notePlace(directory.key, entry);
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
   * Returns a new directory, in memory only. Its first commit, or {@link insertDirectory}, puts it into the
   * store.
   */
  newDirectory(attributes: Attributes, parent: Id): Directory {
    return this.#inodes.unbornDirectory({
      ...this.#newInode(attributes),
      type: 'directory',
      parent,
      entryCount: 0,
      subdirectoryCount: 0,
      isDead: false,
      arrivals: [],
      nextIndex: 0,
      tree: EMPTY_NAMES,
    });
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
    await child.live.create();
    const { id, key } = child;
    await this.insertNode(parent, name, { kind: 'object', id, key, type: 'directory' }, { ...options });
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
    source: { readonly directory: Directory; readonly name: Name },
    target: { readonly directory: Directory; readonly name: Name },
    { replace = true }: { readonly replace?: boolean } = {},
  ): Promise<void> {
    checkName(target.name);
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
    if (there !== undefined) await this.#clearTarget(entry, there, target.directory, replace);
    const isDirectory = typeOfEntry(entry) === 'directory';
    let replaced: DirectoryEntry | undefined;
    const arrive = async (draft: Draft, arriving: DirectoryEntry): Promise<void> => {
      replaced = undefined;
      const found = await this.#findLive(draft, target.name);
      if (found?.isLive === true) {
        if (idOfEntry(found.entry) === idOfEntry(arriving)) return;
        if (isDirectory || typeOfEntry(found.entry) === 'directory') throw changedMeanwhile();
        requireReplaceable(found.entry, replace);
        replaced = found.entry;
      }
      if (found === undefined) draft.insert(arriving);
      else draft.replace(arriving);
    };
    if (source.directory.id === target.directory.id) {
      await this.#moves.applySettled(source.directory, async draft => {
        const found = await draft.findSettled(source.name);
        if (found === undefined || idOfEntry(found) !== idOfEntry(entry)) throw noEntry();
        if (!(await this.#removals.isLive(found))) throw noEntry();
        const there = await this.#findLive(draft, target.name);
        if (there?.isLive === true && idOfEntry(there.entry) === idOfEntry(found)) return;
        await arrive(draft, { ...found, name: target.name });
        draft.remove(source.name);
      });
    } else {
      await this.#moves.move(source.directory, entry, target, arrive);
    }
    if (replaced !== undefined) await this.#dropLink(replaced);
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
    const { node } = entry;
    if (node.kind === 'object' && node.type === 'directory') {
      return await this.setDirectoryAttributes(keyOfReference(node), attributes, ctimeNs);
    }
    const patch = { ...attributes, ctimeNs };
    const place = { directory, name: entry.name, id: idOfEntry(entry) };
    return await changePlaced<LinkableInode>(this.#parts, place, () => ({ patch }));
  }

  /** @param key the key of the directory's object. */
  async setDirectoryAttributes(
    key: Id,
    attributes: Partial<Attributes>,
    ctimeNs: bigint = nowNs(this.#session),
  ): Promise<DirectoryInode> {
    return await this.#inodes.directory(key).apply(draft => {
      draft.update({ ...attributes, ctimeNs });
      return draft.directory;
    });
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
    if (!isThereDirectory) return;
    await this.#moves.requireOutside(keyOfEntry(entry), directory.key);
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
