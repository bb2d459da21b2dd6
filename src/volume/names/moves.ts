/**
 * Moves between directories. Two objects cannot be swapped at once, so a move takes steps, any of which may be the last that
 * its client lives to see:
 *
 *   1. mark      source: the entry gets a departure (token, where to). It is still there for everybody.
 *   (2. parent   a directory that moves names its new parent, and the old one as former; then no cycle may be seen)
 *   3. arrive    destination: the entry is put there with the token. This is the commit.
 *   4. clear     (a directory forgets its former parent;) source: the entry with that departure is removed.
 *   5. forget    destination: the token is dropped.
 *
 * Anybody who needs a name that is departing settles it: if the destination has the token, they go on with 4; if not, they
 * refuse the move there (a token that is not accepted), and then take the departure back.
 *
 * Invariants
 *   1. A token is accepted or refused once: both are swaps of the destination, and each looks for the other.
 *   2. Nobody arrives without a mark: a swap of the destination holds only if, after the state that it replaces was read,
 *      the departure was still in the source. Tokens are forgotten only after the source was cleared.
 *      A destination is removed only after that, too (`Removals`).
 *   3. Hence a name is in the source, or in the destination, at any time in exactly one of them as {@link Moves.isHere} says.
 *   4. No cycle: each directory is at its parent or its former parent. Whoever moves a directory first says where to, then
 *      looks at all ways up from there. Of moves that together would close a cycle the last to say sees it.
 *      Only who has marked the entry says so; what another move has left there is then a dead client's.
 */
import { codeOf, isNetsealError, NetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { Arrival, Departure, DirectoryEntry } from '../../server/sealed/inode.ts';
import type { ApplyOptions, Change } from './commit-group.ts';
import type { Directory } from './directory.ts';
import { DepartingError, type Draft } from './draft.ts';
import { type Inodes, idOfEntry, typeOfEntry } from './inodes.ts';

export interface MoveTarget {
  readonly directory: Directory;
  readonly name: Name;
}

/** Puts the entry where the name belongs, or throws why not. */
export type Arrive = (draft: Draft, entry: DirectoryEntry) => Promise<void>;

const ATTEMPTS_MAX = 16;

export class Moves {
  readonly #inodes: Inodes;

  constructor(inodes: Inodes) {
    this.#inodes = inodes;
  }

  /** Whether an entry of a directory is really there: it is not once its move was accepted elsewhere. */
  async isHere(entry: DirectoryEntry): Promise<boolean> {
    const { departure } = entry;
    return departure === undefined || (await this.#answer(departure)) !== 'accepted';
  }

  /**
   * Ends a move that somebody began: afterwards the entry has no departure, or is gone. Their move fails with ECONFLICT if
   * it had not been committed.
   *
   * @returns whether it had been committed.
   */
  async settle(source: Directory, entry: DirectoryEntry): Promise<boolean> {
    const { departure, node } = entry;
    if (departure === undefined) return false;
    const isAccepted = await this.#decide(source, departure);
    // What its mover has set is to be seen.
    if (node.kind === 'object' && node.type === 'directory') await this.#inodes.get(node.id).read(0);
    await this.#tidy(source, entry, departure, isAccepted);
    return isAccepted;
  }

  /** Ends a move that a directory has accepted, if its client has not. */
  async finishArrival({ source: id, token }: Arrival): Promise<void> {
    const source = this.#inodes.directory(id);
    try {
      for await (const entries of source.entries()) {
        const entry = entries.find(({ departure }) => departure?.token === token);
        if (entry?.departure !== undefined) await this.#tidy(source, entry, entry.departure, true);
      }
    } catch (error) {
      // Without the source there is nothing that could come back.
      const isGone = isNetsealError(error) && (error.code === 'EMISSING' || error.code === 'ENOENT');
      if (!isGone) throw error;
    }
  }

  /** Applies a change that uses `findSettled`: ends moves that are in its way. */
  async applySettled<Result>(
    directory: Directory,
    change: Change<Result>,
    options?: ApplyOptions,
  ): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await directory.apply(change, options);
      } catch (error) {
        if (!(error instanceof DepartingError) || attempt === ATTEMPTS_MAX) throw error;
        await this.settle(directory, error.entry);
      }
    }
  }

  /**
   * Carries a move of the entry that was found under `name` out. Throws what `arrive` throws, ENOENT (something else is there
   * now), ECONFLICT, EINVAL (into itself); then it is where it was. EUNCERTAIN: in one of the two places.
   */
  async move(
    source: Directory,
    { name, node }: DirectoryEntry,
    target: MoveTarget,
    arrive: Arrive,
  ): Promise<void> {
    const departure = { token: randomId(), directory: target.directory.id, name: target.name };
    const id = idOfEntry({ name, node });
    const entry = await source.apply(async draft => {
      const found = await draft.find(name);
      if (found === undefined || idOfEntry(found) !== id) {
        throw new NetsealError('ENOENT', 'nothing there to move');
      }
      if (found.departure !== undefined && found.departure.token !== departure.token) throw inMotion();
      draft.replace({ ...found, departure }, { keepTimes: true });
      return found;
    });
    const marked = { ...entry, departure };
    let isAccepted: boolean | undefined = true;
    try {
      if (typeOfEntry(entry) === 'directory') await this.#setParent(source, marked, target.directory);
      await this.#arrive(source, marked, departure, arrive);
    } catch (error) {
      // What became of it is for the store to say: an answer may have been lost.
      isAccepted = await this.#decide(source, departure).catch(() => undefined);
      if (isAccepted !== true) {
        if (isAccepted === false) await bestEffort(this.#tidy(source, marked, departure, false));
        throw error;
      }
    }
    // It has moved; whoever needs one of the names finishes what is left to do.
    await bestEffort(this.#tidy(source, marked, departure, true));
  }

  /** Sees to it that a move was accepted or never will be; true when it was. */
  async #decide(source: Directory, departure: Departure): Promise<boolean> {
    return (await this.#answer(departure)) === 'accepted' || !(await this.#refuse(source, departure));
  }

  /** Once that is decided. */
  async #tidy(
    source: Directory,
    entry: DirectoryEntry,
    departure: Departure,
    isAccepted: boolean,
  ): Promise<void> {
    if (isAccepted) {
      await this.#forgetFormerParent(entry, departure);
      await this.#clear(source, entry.name, departure);
    } else {
      await this.#takeBack(source, entry, departure);
    }
    await this.#forget(departure);
  }

  async #arrive(
    source: Directory,
    entry: DirectoryEntry,
    departure: Departure,
    arrive: Arrive,
  ): Promise<void> {
    const { token } = departure;
    const validate = (): Promise<void> => this.#requireMark(source, entry);
    await this.applySettled(
      this.#inodes.directory(departure.directory),
      async draft => {
        const known = draft.directory.arrivals.find(arrival => arrival.token === token);
        if (known?.isAccepted === true) return;
        if (known !== undefined) throw inMotion();
        const { departure: _, ...arriving } = entry;
        await arrive(draft, { ...arriving, name: departure.name });
        const arrival = { token, source: source.id, isAccepted: true };
        draft.update({ arrivals: [...draft.directory.arrivals, arrival] });
      },
      { validate },
    );
  }

  /** ECONFLICT when the entry has another departure by now, or none. */
  async #requireMark(
    source: Directory,
    { name, departure }: Pick<DirectoryEntry, 'name' | 'departure'>,
  ): Promise<void> {
    const now = await source.find(name, 0);
    if (now?.departure === undefined || now.departure.token !== departure?.token) throw inMotion();
  }

  async #answer({ directory, token }: Departure): Promise<'accepted' | 'refused' | 'open' | 'dead'> {
    const inode = await this.#inodes
      .get(directory)
      .read(0)
      .catch(error => {
        if (codeOf(error) === 'EMISSING') return undefined;
        throw error;
      });
    if (inode?.type !== 'directory') return 'dead';
    const arrival = inode.arrivals.find(known => known.token === token);
    // What has arrived may have been removed since, and the folder after it.
    if (arrival === undefined) return inode.isDead ? 'dead' : 'open';
    return arrival.isAccepted ? 'accepted' : 'refused';
  }

  /** Sees to it that the move cannot be accepted any more; false when it was. */
  async #refuse(source: Directory, departure: Departure): Promise<boolean> {
    const { token } = departure;
    if ((await this.#answer(departure)) === 'dead') return true;
    return await this.#inodes.directory(departure.directory).apply(draft => {
      const { inode } = draft;
      if (inode.type !== 'directory') return true;
      const known = inode.arrivals.find(arrival => arrival.token === token);
      // Into a dead one nobody arrives any more.
      if (known === undefined && !inode.isDead) {
        draft.update({ arrivals: [...inode.arrivals, { token, source: source.id, isAccepted: false }] });
      }
      return known?.isAccepted !== true;
    });
  }

  async #takeBack(source: Directory, entry: DirectoryEntry, { token }: Departure): Promise<void> {
    const { node } = entry;
    if (node.kind === 'object' && node.type === 'directory') {
      await this.#inodes.get(node.id).apply(draft => {
        const { inode } = draft;
        if (inode.type !== 'directory' || inode.isDead) return;
        // Only what this move has set.
        if (inode.formerParent?.token === token) draft.update({ parent: source.id, formerParent: undefined });
      });
    }
    await source.apply(async draft => {
      if (draft.inode.type !== 'directory' || draft.inode.isDead) return;
      const found = await draft.find(entry.name);
      if (found?.departure?.token !== token) return;
      const { departure: _, ...kept } = found;
      draft.replace(kept, { keepTimes: true });
    });
  }

  async #clear(source: Directory, name: Name, { token }: Departure): Promise<void> {
    await source.apply(async draft => {
      if (draft.inode.type !== 'directory' || draft.inode.isDead) return;
      if ((await draft.find(name))?.departure?.token === token) draft.remove(name);
    });
  }

  async #forget({ directory, token }: Departure): Promise<void> {
    if ((await this.#answer({ directory, token, name: '' })) === 'dead') return;
    await this.#inodes.directory(directory).apply(draft => {
      const { inode } = draft;
      if (inode.type !== 'directory' || inode.isDead) return;
      const arrivals = inode.arrivals.filter(arrival => arrival.token !== token);
      if (arrivals.length < inode.arrivals.length) draft.update({ arrivals });
    });
  }

  /** Says where a directory is going, and makes sure that it does not end up below itself. */
  async #setParent(
    source: Directory,
    { name, node, departure }: DirectoryEntry,
    target: Directory,
  ): Promise<void> {
    if (node.kind === 'embedded' || departure === undefined) return;
    const { token } = departure;
    const validate = (): Promise<void> => this.#requireMark(source, { name, departure });
    await this.#inodes.get(node.id).apply(
      draft => {
        // Another move's former parent is a dead client's: only who has marked the entry gets here.
        draft.update({ parent: target.id, formerParent: { directory: source.id, token } });
        return draft.directory;
      },
      { validate },
    );
    await this.requireOutside(node.id, target.id);
  }

  async #forgetFormerParent({ node }: DirectoryEntry, { token }: Departure): Promise<void> {
    if (node.kind === 'embedded' || node.type !== 'directory') return;
    await this.#inodes.get(node.id).apply(draft => {
      const { inode } = draft;
      if (inode.type === 'directory' && inode.formerParent?.token === token)
        draft.update({ formerParent: undefined });
    });
  }

  /** EINVAL when a directory would be moved below itself. */
  async requireOutside(moved: Id, target: Id): Promise<void> {
    if (await this.#isAbove(moved, target)) {
      throw new NetsealError('EINVAL', 'a folder cannot be moved into itself');
    }
  }

  /** Whether `upper` is on any way up from `lower`, as the store says now. */
  async #isAbove(upper: Id, lower: Id): Promise<boolean> {
    const seen = new Set<Id>();
    const queue = [lower];
    for (let id = queue.pop(); id !== undefined; id = queue.pop()) {
      if (id === upper) return true;
      if (seen.has(id)) continue;
      seen.add(id);
      const inode = await this.#inodes.directory(id).read(0);
      // The root is its own parent.
      queue.push(inode.parent, ...(inode.formerParent === undefined ? [] : [inode.formerParent.directory]));
    }
    return false;
  }
}

/** For what others finish if it fails. */
export async function bestEffort(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!isNetsealError(error)) throw error;
  }
}

function inMotion(): NetsealError {
  return new NetsealError('ECONFLICT', 'another client is moving it: try again');
}
