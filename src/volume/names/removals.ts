/**
 * Removing directories. It takes two steps, as the directory and its name lie in two objects: first the directory is marked
 * as dead, from when on nothing can be put into it and nobody finds it; then its name is taken away. Whoever needs the
 * name, or the folder above, finishes that for a client that did not live to do it.
 */
import { codeOf, NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { Arrival, DirectoryEntry } from '../../server/sealed/inode.ts';
import type { Directory } from './directory.ts';
import { type Inodes, idOfEntry, typeOfEntry } from './inodes.ts';
import { bestEffort, type Moves } from './moves.ts';

/** How often a directory that should be removed is cleared of leftovers. */
const SWEEPS_MAX = 4;

export class Removals {
  readonly #inodes: Inodes;
  readonly #moves: Moves;

  constructor(inodes: Inodes, moves: Moves) {
    this.#inodes = inodes;
    this.#moves = moves;
  }

  /** Removes an empty directory. ENOENT, ENOTDIR, ENOTEMPTY. */
  async rmdir(directory: Directory, name: Name): Promise<void> {
    const entry = await directory.find(name, 0);
    if (entry === undefined) throw noEntry();
    if (entry.departure !== undefined && (await this.#moves.settle(directory, entry))) throw noEntry();
    if (typeOfEntry(entry) !== 'directory') throw new NetsealError('ENOTDIR', 'this is no folder');
    try {
      await this.kill(idOfEntry(entry));
    } catch (error) {
      // Whoever removed it may not have lived to take the name away.
      if (codeOf(error) === 'ENOENT') await bestEffort(this.#dropDead(directory, entry));
      throw error;
    }
    // It is gone, whatever becomes of its name: nobody finds it any more.
    await bestEffort(this.#dropDead(directory, entry));
  }

  /** Marks a directory as removed. ENOTEMPTY; ENOENT when it was removed already. */
  async kill(id: Id): Promise<void> {
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
        if (await this.isLive(entry)) return false;
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
      if (!(await this.isLive(found))) draft.remove(entry.name);
    });
  }

  /** False for a directory whose removal was not finished, and for what has moved away. */
  async isLive(entry: DirectoryEntry): Promise<boolean> {
    if (!(await this.#moves.isHere(entry))) return false;
    if (entry.node.kind === 'embedded' || entry.node.type !== 'directory') return true;
    const live = this.#inodes.get(entry.node.id);
    const inode = await live.read();
    return inode.type !== 'directory' || !inode.isDead;
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

export function noEntry(): NetsealError {
  return new NetsealError('ENOENT', 'no such file or folder');
}
