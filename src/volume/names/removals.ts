/**
 * Removes directories. An embedded one is gone with its entry. One that is an object takes two steps, as the
 * directory and its name lie in two objects:
 *
 *   1. The directory is declared dead. From then on no client finds it, and nothing can be put into it.
 *   2. Its name is removed.
 *
 * If a client dies between them, the next client that needs the name, or the folder above, does the second
 * step.
 */
import { bestEffort } from '../../base/best-effort.ts';
import { codeOf, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import { inParallel } from '../../base/in-parallel.ts';
import type { Name } from '../../base/name.ts';
import { requireChangeable } from '../../server/sealed/extensions.ts';
import type { Arrival, DirectoryEntry, DirectoryInode } from '../../server/sealed/inode.ts';
import { NameTree } from '../../server/sealed/name-tree.ts';
import { embeddedIn, fetchAhead } from '../session/fetch-ahead.ts';
import type { Session } from '../session/session.ts';
import type { Directory } from './directory.ts';
import type { Draft } from './draft.ts';
import type { Inodes } from './inodes.ts';
import { dropLink } from './link-count.ts';
import type { LiveNames } from './live-names.ts';
import type { Moves } from './moves.ts';
import { idOfEntry, keyOfEntry, typeOfEntry } from './references.ts';

/** How often leftovers are cleared from a directory that is to be removed. */
const SWEEPS_MAX = 4;
/** How often the removal of a tree waits for changes in it to be committed first. */
const TREE_ATTEMPTS_MAX = 16;
const LINKS_AT_ONCE = 16;

/** What is in an embedded directory. */
interface Tree {
  readonly entryCount: number;
  /** The entries that lead to files with objects of their own, or to files that this session has open. */
  readonly files: readonly DirectoryEntry[];
}

export class Removals {
  readonly #session: Session;
  readonly #inodes: Inodes;
  readonly #moves: Moves;
  readonly #names: LiveNames;

  constructor(session: Session, inodes: Inodes, moves: Moves, names: LiveNames) {
    this.#session = session;
    this.#inodes = inodes;
    this.#moves = moves;
    this.#names = names;
  }

  /** Removes an empty directory. ENOENT, ENOTDIR, ENOTEMPTY. */
  async rmdir(directory: Directory, name: Name): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const entry = await directory.find(name, 0);
      if (entry === undefined) throw noEntry();
      if (entry.departure !== undefined && (await this.#moves.settle(directory, entry))) throw noEntry();
      if (typeOfEntry(entry) !== 'directory') throw new NetsealError('ENOTDIR', 'this is not a folder');
      if (entry.node.kind === 'object') {
        await this.#rmdirObject(directory, entry);
        return;
      }
      if (await this.#rmdirEmbedded(directory, name)) return;
      if (attempt === SWEEPS_MAX)
        throw new NetsealError('ECONFLICT', 'the folder changes too fast: try again');
    }
  }

  /**
   * Removes an embedded directory with everything in it, in one swap of its host. What others put there until
   * then goes with it. Returns how many names are gone, its own included; undefined, and nothing is changed,
   * for anything but an embedded directory.
   *
   * Rejects with ENOENT, with EUNSUPPORTED when a directory in it may be changed by a newer netseal only, and
   * with what reading it throws.
   */
  async removeTree(directory: Directory, name: Name): Promise<number | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const tree = await this.#tryRemoveTree(directory, name);
        if (tree === undefined) return undefined;
        await inParallel(tree.files, LINKS_AT_ONCE, entry => dropLink(this.#session, this.#inodes, entry));
        return tree.entryCount + 1;
      } catch (error) {
        if (!(error instanceof ChangingError) || attempt === TREE_ATTEMPTS_MAX) throw error;
      }
    }
  }

  #tryRemoveTree(directory: Directory, name: Name): Promise<Tree | undefined> {
    return this.#moves.applySettled(directory, async draft => {
      const found = await draft.findSettled(name);
      if (found === undefined) throw noEntry();
      if (found.node.kind === 'object' || found.node.inode.type !== 'directory') return undefined;
      const tree = await this.#readTree(draft, found.node.inode);
      draft.remove(name);
      return tree;
    });
  }

  /** Reads an embedded directory and all below it. Throws {@link ChangingError}. */
  async #readTree(draft: Draft, top: DirectoryInode): Promise<Tree> {
    const { sealing, nameNodes } = this.#session;
    const { openPlaces } = this.#inodes;
    const files: DirectoryEntry[] = [];
    let entryCount = 0;
    const left = [top];
    await fetchAhead(this.#session, left);
    for (let inode = left.pop(); inode !== undefined; inode = left.pop()) {
      const { id, tree, extensions } = inode;
      if (draft.hasChanged(id)) throw new ChangingError();
      // Removing a directory's names changes it, so that must be allowed.
      if (inode.entryCount > 0) requireChangeable(`inode ${id}`, extensions?.items);
      for await (const entries of new NameTree(sealing, id, nameNodes).leaves(tree)) {
        entryCount += entries.length;
        const isFollowed = (entry: DirectoryEntry): boolean =>
          entry.node.kind === 'object' || openPlaces.has(idOfEntry(entry));
        files.push(...entries.filter(isFollowed));
        const below = embeddedIn(entries);
        await fetchAhead(this.#session, below);
        left.push(...below);
      }
    }
    return { entryCount, files };
  }

  /** Removes an embedded directory, in one step. Returns false if it has become an object meanwhile. */
  #rmdirEmbedded(directory: Directory, name: Name): Promise<boolean> {
    return this.#moves.applySettled(directory, async draft => {
      const found = await draft.findSettled(name);
      if (found === undefined) throw noEntry();
      if (typeOfEntry(found) !== 'directory') throw new NetsealError('ENOTDIR', 'this is not a folder');
      if (found.node.kind === 'object') return false;
      requireEmpty(draft.open(found).directory);
      draft.remove(name);
      return true;
    });
  }

  async #rmdirObject(directory: Directory, entry: DirectoryEntry): Promise<void> {
    try {
      await this.kill(keyOfEntry(entry));
    } catch (error) {
      // The client that removed it may have died before it removed the name.
      if (codeOf(error) === 'ENOENT') await bestEffort(this.#dropDead(directory, entry));
      throw error;
    }
    // The directory is gone, even if its name stays: no client finds it any more.
    await bestEffort(this.#dropDead(directory, entry));
  }

  /** Declares the directory whose object has this key dead. ENOTEMPTY; ENOENT when it was removed already. */
  async kill(key: Id): Promise<void> {
    const directory = this.#inodes.directory(key);
    const finished = new Set<Id>();
    for (let attempt = 1; ; attempt += 1) {
      try {
        await directory.apply(draft => {
          requireEmpty(draft.directory);
          const { arrivals } = draft.directory;
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

  /**
   * Clears entries of removals and moves that were not finished. Returns false if the directory holds a live
   * entry.
   */
  async #sweep(directory: Directory): Promise<boolean> {
    for await (const entries of directory.entries()) {
      for (const entry of entries) {
        if (await this.#names.isLive(entry)) return false;
        if (entry.departure !== undefined) await this.#moves.settle(directory, entry);
        await this.#dropDead(directory, entry);
      }
    }
    return true;
  }

  /** Removes the name of a dead directory, if it still leads to that directory. */
  async #dropDead(directory: Directory, entry: DirectoryEntry): Promise<void> {
    if (typeOfEntry(entry) !== 'directory') return;
    await this.#moves.applySettled(directory, async draft => {
      const found = await draft.findSettled(entry.name);
      if (found === undefined || idOfEntry(found) !== idOfEntry(entry)) return;
      if (!(await this.#names.isLive(found))) draft.remove(entry.name);
    });
  }
}

/**
 * Signals that entries have arrived in the directory whose moves are not finished. Their sources must be
 * cleared before the directory goes: afterwards it would be unknown that they had arrived.
 */
class ArrivedError extends NetsealError {
  readonly arrivals: readonly Arrival[];

  constructor(arrivals: readonly Arrival[]) {
    super('ECONFLICT', 'another client is moving something into the folder: try again');
    this.arrivals = arrivals;
  }
}

/** Signals that a change in a tree which is to be removed is part of the same commit. */
class ChangingError extends NetsealError {
  constructor() {
    super('ECONFLICT', 'the folder changes while it is being removed: try again');
  }
}

/** Throws ENOTEMPTY for a directory with entries. */
export function requireEmpty({ entryCount }: Pick<DirectoryInode, 'entryCount'>): void {
  if (entryCount > 0) throw new NetsealError('ENOTEMPTY', `the folder holds ${entryCount} entries`);
}

export function noEntry(): NetsealError {
  return new NetsealError('ENOENT', 'no such file or folder');
}
