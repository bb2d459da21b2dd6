/** What can be done to names: each call is one commit of the directory that it changes, shared with others at the same time. */
import { NetsealError, requireArgument } from '../base/errors.ts';
import { type Id, randomId } from '../server/sealed/ids.ts';
import type {
  Arrival,
  Attributes,
  DirectoryEntry,
  DirectoryInode,
  EntryNode,
  FileInode,
  Inode,
  Name,
  SymlinkInode,
} from '../server/sealed/inode.ts';
import { EMPTY_NAMES } from '../server/sealed/name-tree.ts';
import { EMPTY_MAP } from '../server/sealed/unit-map.ts';
import type { Directory } from './directory.ts';
import type { ChangeOptions, Draft } from './draft.ts';
import { changePlaced, placeInode } from './file-place.ts';
import { type Inodes, idOfEntry, typeOfEntry } from './inodes.ts';
import { bestEffort, type Moves } from './moves.ts';
import { checkName, SYMLINK_BYTES_MAX } from './names.ts';
import { nowNs, type Session } from './session.ts';

/** How often a directory that should be removed is cleared of leftovers. */
const SWEEPS_MAX = 4;

export interface PutOptions extends ChangeOptions {
  /** A file or symlink of that name goes; otherwise EEXIST. */
  readonly replace?: boolean | undefined;
  /** What must be durable before. */
  readonly segments?: Iterable<Id> | undefined;
}

/** A name for a new file or symlink. */
export interface NewName {
  readonly name: Name;
  readonly inode: FileInode | SymlinkInode;
  /** What must be durable before. */
  readonly segments: Iterable<Id>;
}

export class Namespace {
  readonly #session: Session;
  readonly #inodes: Inodes;
  readonly #moves: Moves;

  constructor(session: Session, inodes: Inodes, moves: Moves) {
    this.#session = session;
    this.#inodes = inodes;
    this.#moves = moves;
  }

  /** The entry that a name leads to now; undefined when there is none. */
  async find(directory: Directory, name: Name): Promise<DirectoryEntry | undefined> {
    const entry = await directory.find(name);
    return entry !== undefined && (await this.#isLive(entry)) ? entry : undefined;
  }

  /** What is there of a directory, ascending, many at a time. */
  async *entries(directory: Directory): AsyncGenerator<readonly DirectoryEntry[]> {
    for await (const entries of directory.entries()) {
      const departing = new Set<DirectoryEntry>();
      for (const entry of entries) {
        if (entry.departure !== undefined && !(await this.#moves.isHere(entry))) departing.add(entry);
      }
      yield departing.size === 0 ? entries : entries.filter(entry => !departing.has(entry));
    }
  }

  /** An inode for a new file, empty. */
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

  /** An inode for a new symlink. EINVAL for a target that cannot be one. */
  newSymlink(attributes: Attributes, target: Uint8Array): SymlinkInode {
    requireArgument(
      target.byteLength > 0 && target.byteLength <= SYMLINK_BYTES_MAX && !target.includes(0),
      `a symbolic link leads to 1 to ${SYMLINK_BYTES_MAX} bytes without NUL, not ${target.byteLength}`,
    );
    return { ...this.#newInode(attributes), type: 'symlink', linkCount: 1, target: new Uint8Array(target) };
  }

  /** A new directory, in memory only: its first commit, or {@link insertDirectory}, puts it into the store. */
  newDirectory(attributes: Attributes, parent: Id): Directory {
    return this.#inodes.unbornDirectory({
      ...this.#newInode(attributes),
      type: 'directory',
      parent,
      entryCount: 0,
      isDead: false,
      arrivals: [],
      nextIndex: 0,
      tree: EMPTY_NAMES,
    });
  }

  /** Gives a name to a new file or symlink. EEXIST; EISDIR when a directory is there. */
  async insert(
    directory: Directory,
    name: Name,
    inode: FileInode | SymlinkInode,
    options: PutOptions = {},
  ): Promise<void> {
    checkName(name);
    const node = await placeInode(this.#inodes, inode, options.segments ?? []);
    await this.insertNode(directory, name, node, options);
  }

  /** Gives a name to what has none yet, or has this one already. */
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
        // An answer was lost, and this is what it would have said.
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
   * Gives names to many new files and symlinks, in one change: for whoever copies trees. Each is judged by itself.
   *
   * @returns for each in order what it failed with, as {@link insert} throws; undefined for those that are there. Rejects
   *   when nothing of it was done.
   */
  async insertMany(
    directory: Directory,
    items: readonly NewName[],
    options: ChangeOptions & { readonly replace?: boolean | undefined } = {},
  ): Promise<(NetsealError | undefined)[]> {
    const placed = await Promise.all(
      items.map(async ({ name, inode, segments }) => {
        checkName(name);
        return { name, node: await placeInode(this.#inodes, inode, segments) };
      }),
    );
    const needed = new Set(items.flatMap(({ segments }) => [...segments]));
    const { failures, replaced } = await this.#moves.applySettled(directory, async draft => {
      const outcome: { failures: (NetsealError | undefined)[]; replaced: DirectoryEntry[] } = {
        failures: [],
        replaced: [],
      };
      draft.needs(needed);
      for (const { name, node } of placed) {
        const found = await this.#findLive(draft, name);
        const failure =
          found?.isLive === true ? whyNotReplaceable(found.entry, options.replace === true) : undefined;
        const isThere = found?.isLive === true && idOfEntry(found.entry) === idOfNode(node);
        outcome.failures.push(isThere ? undefined : failure);
        if (isThere || failure !== undefined) continue;
        if (found?.isLive === true) outcome.replaced.push(found.entry);
        if (found === undefined) draft.insert({ name, node }, options);
        else draft.replace({ name, node }, options);
      }
      return outcome;
    });
    for (const entry of replaced) await this.#dropLink(entry);
    return failures;
  }

  /** Puts a directory made by {@link newDirectory} into the store, if it is not there, and gives it a name. EEXIST. */
  async insertDirectory(
    parent: Directory,
    name: Name,
    child: Directory,
    options: ChangeOptions = {},
  ): Promise<void> {
    checkName(name);
    await child.live.create();
    await this.insertNode(parent, name, { kind: 'object', id: child.id, type: 'directory' }, { ...options });
  }

  /** Removes a name of a file or symlink. ENOENT, EISDIR. */
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
  async rmdir(directory: Directory, name: Name): Promise<void> {
    const entry = await directory.find(name, 0);
    if (entry === undefined) throw noEntry();
    if (entry.departure !== undefined && (await this.#moves.settle(directory, entry))) throw noEntry();
    if (typeOfEntry(entry) !== 'directory') throw new NetsealError('ENOTDIR', 'this is no folder');
    try {
      await this.#kill(idOfEntry(entry));
    } catch (error) {
      // Whoever removed it may not have lived to take the name away.
      if (codeOf(error) === 'ENOENT') await bestEffort(this.#dropDead(directory, entry));
      throw error;
    }
    // It is gone, whatever becomes of its name: nobody finds it any more.
    await bestEffort(this.#dropDead(directory, entry));
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
    // First the count, then the name: a crash in between leaves a count that is too high, which does no harm.
    const inode = await changePlaced<FileInode | SymlinkInode>(
      this.#inodes,
      this.#moves,
      place,
      ({ linkCount }) => ({ patch: { linkCount: linkCount + 1, ctimeNs: nowNs(this.#session) } }),
      { promote: true },
    );
    try {
      await this.#insertNode(directory, name, { kind: 'object', id, type: inode.type }, options, false);
    } catch (error) {
      // Better too high than too low.
      if (codeOf(error) !== 'EUNCERTAIN') await bestEffort(this.#changeLinkCount(id, -1));
      throw error;
    }
  }

  /**
   * Moves a name, replacing a file or an empty directory as POSIX has it. ENOENT, EISDIR, ENOTDIR, ENOTEMPTY; EINVAL into itself;
   * EEXIST if `replace` is false and something is there.
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
    // Two names of one file: POSIX leaves both.
    if (there !== undefined && idOfEntry(there) === idOfEntry(entry)) {
      // Unless another client has just made the one of the other.
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
        if (!(await this.#isLive(found))) throw noEntry();
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

  /** Changes attributes of whatever a name leads to. */
  async setAttributes(
    directory: Directory,
    entry: DirectoryEntry,
    attributes: Partial<Attributes>,
  ): Promise<Inode> {
    const patch = { ...attributes, ctimeNs: nowNs(this.#session) };
    const id = idOfEntry(entry);
    if (typeOfEntry(entry) === 'directory') return await this.setDirectoryAttributes(id, attributes);
    const place = { directory, name: entry.name, id };
    return await changePlaced<FileInode | SymlinkInode>(this.#inodes, this.#moves, place, () => ({ patch }));
  }

  async setDirectoryAttributes(id: Id, attributes: Partial<Attributes>): Promise<DirectoryInode> {
    const patch = { ...attributes, ctimeNs: nowNs(this.#session) };
    return await this.#inodes.directory(id).apply(draft => {
      draft.update(patch);
      return draft.directory;
    });
  }

  /** Makes way for a rename: what may be replaced only after a look into it. */
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
    await this.#moves.requireOutside(idOfEntry(entry), directory.id);
    try {
      // It is empty, so that nothing is lost if the rename then fails.
      await this.#kill(idOfEntry(there));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
  }

  /** Marks a directory as removed. ENOTEMPTY; ENOENT when it was removed already. */
  async #kill(id: Id): Promise<void> {
    const directory = this.#inodes.directory(id);
    const finished = new Set<Id>();
    for (let attempt = 1; ; attempt += 1) {
      try {
        await directory.apply(draft => {
          const { entryCount, arrivals } = draft.directory;
          if (entryCount > 0) throw new NetsealError('ENOTEMPTY', `the folder holds ${entryCount} entries`);
          const arrived = arrivals.filter(({ isAccepted, token }) => isAccepted && !finished.has(token));
          if (arrived.length > 0) throw new ArrivedError(arrived);
          draft.update({ isDead: true });
        });
        return;
      } catch (error) {
        if (attempt === SWEEPS_MAX) throw error;
        if (error instanceof ArrivedError) {
          for (const arrival of error.arrivals) {
            await this.#moves.finishArrival(arrival);
            finished.add(arrival.token);
          }
        } else if (codeOf(error) !== 'ENOTEMPTY' || !(await this.#sweep(directory))) {
          throw error;
        }
      }
    }
  }

  /** Takes away what only seems to be in a directory: removals and moves that were not finished. False if anything is there. */
  async #sweep(directory: Directory): Promise<boolean> {
    for await (const entries of directory.entries()) {
      for (const entry of entries) {
        if (await this.#isLive(entry)) return false;
        if (entry.departure !== undefined) await this.#moves.settle(directory, entry);
        await this.#dropDead(directory, entry);
      }
    }
    return true;
  }

  /** Removes the name of a removed directory, if it still leads to that one. */
  async #dropDead(directory: Directory, entry: DirectoryEntry): Promise<void> {
    if (typeOfEntry(entry) !== 'directory') return;
    await this.#moves.applySettled(directory, async draft => {
      const found = await draft.findSettled(entry.name);
      if (found === undefined || idOfEntry(found) !== idOfEntry(entry)) return;
      if (!(await this.#isLive(found))) draft.remove(entry.name);
    });
  }

  /** An entry, and whether it counts: what leads to a removed directory does not. */
  async #findLive(
    draft: Draft,
    name: Name,
  ): Promise<{ readonly entry: DirectoryEntry; readonly isLive: boolean } | undefined> {
    const entry = await draft.findSettled(name);
    return entry === undefined ? undefined : { entry, isLive: await this.#isLive(entry) };
  }

  /** False for a directory whose removal was not finished, and for what has moved away. */
  async #isLive(entry: DirectoryEntry): Promise<boolean> {
    if (!(await this.#moves.isHere(entry))) return false;
    if (entry.node.kind === 'embedded' || entry.node.type !== 'directory') return true;
    const live = this.#inodes.get(entry.node.id);
    const inode = await live.read();
    return inode.type !== 'directory' || !inode.isDead;
  }

  /** A name is gone. gc finds out by itself that nothing leads to a file; only several names need a count. */
  async #dropLink({ node }: DirectoryEntry): Promise<void> {
    // Not worth an error: what it belongs to has happened, and a count that is too high does no harm.
    if (node.kind === 'object' && node.type !== 'directory') {
      await bestEffort(this.#changeLinkCount(node.id, -1));
    }
  }

  async #changeLinkCount(id: Id, difference: number): Promise<void> {
    await this.#inodes.get(id).apply(draft => {
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
    const { mode, uid, gid, mtimeNs, xattrs } = attributes;
    requireArgument(Number.isInteger(mode) && mode >= 0 && mode <= 0o7777, `not a mode: ${mode}`);
    const time = nowNs(this.#session);
    return {
      mode,
      uid,
      gid,
      mtimeNs,
      xattrs,
      id: randomId(),
      version: 0,
      dataVersion: 0,
      ctimeNs: time,
      birthNs: time,
    };
  }
}

/**
 * What a directory has accepted is to be cleared from where it came before the directory goes: afterwards nobody could tell
 * any more that it had arrived.
 */
class ArrivedError extends NetsealError {
  readonly arrivals: readonly Arrival[];

  constructor(arrivals: readonly Arrival[]) {
    super('ECONFLICT', 'another client is moving something into the folder: try again');
    this.arrivals = arrivals;
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof NetsealError ? error.code : undefined;
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
  if (typeOfEntry(entry) === 'directory') return new NetsealError('EISDIR', 'a folder is there already');
  return replace ? undefined : alreadyThere();
}

function noEntry(): NetsealError {
  return new NetsealError('ENOENT', 'no such file or folder');
}

function alreadyThere(): NetsealError {
  return new NetsealError('EEXIST', 'something is there already');
}

function changedMeanwhile(): NetsealError {
  return new NetsealError('ECONFLICT', 'another client changed what is there meanwhile: try again');
}
