/**
 * Moves names between directories that are objects of their own. Two objects cannot be swapped at once, so a
 * move takes steps. Its client may die after any of them:
 *
 *   1. depart    The entry in the source gets a departure (token, destination). It still counts there.
 *   2. parent    Only if a directory moves: it notes its new parent, and the old one as its former parent.
 *                The move is given up if it would close a cycle.
 *   3. arrive    The entry is put into the destination, with the token. This is the commit.
 *   4. clear     A directory that moved forgets its former parent. The entry is removed from the source.
 *   5. forget    The token is dropped from the destination.
 *
 * A client that needs a departing name settles the move first. If the destination has accepted the token, the
 * client goes on with step 4. If not, it refuses the move there (it notes the token as not accepted) and
 * takes the departure back.
 *
 * Invariants
 *   1. A token is accepted or refused, and only once: both are swaps of the destination, and each looks for
 *      the other.
 *   2. No arrival without a departure. A swap of the destination is valid only if the departure was still in
 *      the source after the replaced state of the destination was read. Only after the source was cleared is
 *      the token forgotten, or the destination removed (`Removals`).
 *   3. Hence a name is in exactly one of source and destination at any time, as {@link Moves.isHere} says.
 *   4. No cycle. Each directory is in its parent or in its former parent. The client that moves a directory
 *      first notes the new parent, then looks at all ways up from there. If several moves together would
 *      close a cycle, the last one to note its parent sees it. Only a client whose departure is in the entry
 *      may note a parent; a former parent that another move left there is a dead client's.
 */
import { bestEffort } from '../../base/best-effort.ts';
import { codeOf, isNetsealError, NetsealError } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { Arrival, Departure, DirectoryEntry } from '../../server/sealed/inode.ts';
import type { ApplyOptions, Change } from './commit-group.ts';
import { DepartingStepError, type Directory } from './directory.ts';
import { DepartingError, type Draft } from './draft.ts';
import type { Inodes } from './inodes.ts';
import { idOfEntry, keyOfReference, typeOfEntry } from './references.ts';

export interface MoveTarget {
  readonly directory: Directory;
  readonly name: Name;
}

/** Puts the entry into the destination's draft, or throws why it cannot. */
export type Arrive = (draft: Draft, entry: DirectoryEntry) => Promise<void>;

const ATTEMPTS_MAX = 16;
/**
 * A change of an embedded directory that has lost so many swaps of the host takes the directory out with it.
 */
const LOST_SWAPS_MAX = 2;

export class Moves {
  readonly #inodes: Inodes;

  constructor(inodes: Inodes) {
    this.#inodes = inodes;
  }

  /** Tells whether an entry of a directory counts: it does not once its destination has accepted it. */
  async isHere(entry: DirectoryEntry): Promise<boolean> {
    const { departure } = entry;
    return departure === undefined || (await this.#answer(departure)) !== 'accepted';
  }

  /**
   * Ends a move that another client began. Afterwards the entry has no departure, or is gone. A move that was
   * not committed fails with ECONFLICT.
   *
   * @returns whether the move was committed.
   */
  async settle(source: Directory, entry: DirectoryEntry): Promise<boolean> {
    const { departure, node } = entry;
    if (departure === undefined) return false;
    const isAccepted = await this.#decide(source, departure);
    // The directory must be read anew: its mover may have noted a parent.
    if (node.kind === 'object' && node.type === 'directory')
      await this.#inodes.get(keyOfReference(node)).read(0);
    await this.#tidy(source, entry, departure, isAccepted);
    return isAccepted;
  }

  /** Ends a move that a directory has accepted, in case the client that began the move died before. */
  async finishArrival({ source: key, token }: Arrival): Promise<void> {
    const source = this.#inodes.directory(key);
    try {
      for await (const entries of source.entries()) {
        const entry = entries.find(({ departure }) => departure?.token === token);
        if (entry?.departure !== undefined) await this.#tidy(source, entry, entry.departure, true);
      }
    } catch (error) {
      // Without the source no entry could come back.
      const isGone = isNetsealError(error) && (error.code === 'EMISSING' || error.code === 'ENOENT');
      if (!isGone) throw error;
    }
  }

  /** Commits a change that uses `findSettled`, and ends moves that are in its way. */
  async applySettled<Result>(
    directory: Directory,
    change: Change<Result>,
    options?: ApplyOptions,
  ): Promise<Result> {
    return await this.applyAllSettled([directory], ([draft]) => change(draft as Draft), options);
  }

  /** Does the same for directories of one host; see `Directory.applyTo`. */
  async applyAllSettled<Result>(
    directories: readonly [Directory, ...Directory[]],
    change: (drafts: readonly Draft[]) => Promise<Result> | Result,
    options?: ApplyOptions,
  ): Promise<Result> {
    const [first] = directories;
    for (let attempt = 1; ; attempt += 1) {
      const { live } = first.path;
      const lostBefore = live.lostSwapCount;
      const eased = async (drafts: readonly Draft[]): Promise<Result> => {
        const result = await change(drafts);
        // Several clients compete for the host.
        if (live.lostSwapCount - lostBefore >= LOST_SWAPS_MAX) takeOut(directories, drafts);
        return result;
      };
      try {
        return await first.applyTo(directories, eased, options);
      } catch (error) {
        if (!(error instanceof DepartingError) || attempt === ATTEMPTS_MAX) throw error;
        await this.#settleFor(directories, error);
      }
    }
  }

  /** Ends the move that was in the way of a change. */
  async #settleFor(directories: readonly Directory[], error: DepartingError): Promise<void> {
    const { entry } = error;
    if (error instanceof DepartingStepError) {
      const { step } = error;
      const parent = step.embeddedIn?.parent;
      if (parent === undefined || !(await this.settle(parent, entry)) || entry.departure === undefined)
        return;
      // The folder has arrived at its destination: the change is repeated there.
      const { directory, name } = entry.departure;
      step.becomeEmbedded(this.#inodes.directory(directory), name);
      return;
    }
    // Entries of embedded directories have no departures: it is the host's.
    const directory = directories.find(({ isEmbedded }) => !isEmbedded);
    if (directory === undefined) throw error;
    await this.settle(directory, entry);
  }

  /**
   * Makes an embedded directory an object of its own, with all embedded directories above it, in one swap of
   * the host. An object stays as it is. Rejects with ENOENT when it is gone; with ECONFLICT when others
   * change it too often. A change that needs it calls `Draft.promote` itself: then both are one swap.
   */
  async promote(directory: Directory): Promise<void> {
    if (directory.isEmbedded) await this.applySettled(directory, draft => draft.promote());
  }

  /**
   * Moves the entry that was found under `name`. A source that is embedded becomes an object with the
   * departure. The target is an object already, as the departure names its key.
   *
   * Rejects with what `arrive` throws; ENOENT when the name leads elsewhere now; ECONFLICT; EINVAL when a
   * folder would be moved into itself. After these the entry is where it was. After EUNCERTAIN it is in one
   * of the two places.
   */
  async move(
    source: Directory,
    { name, node }: DirectoryEntry,
    target: MoveTarget,
    arrive: Arrive,
  ): Promise<void> {
    const departure = { token: randomId(), directory: target.directory.key, name: target.name };
    const id = idOfEntry({ name, node });
    const entry = await this.applySettled(source, async draft => {
      const found = await draft.find(name);
      if (found === undefined || idOfEntry(found) !== id) {
        throw new NetsealError('ENOENT', 'nothing there to move');
      }
      if (found.departure !== undefined && found.departure.token !== departure.token) throw inMotion();
      draft.replace({ ...found, departure }, { keepTimes: true });
      draft.promote();
      return found;
    });
    const departing = { ...(await this.#frozen(source, entry, departure)), departure };
    let isAccepted: boolean | undefined = true;
    try {
      if (typeOfEntry(entry) === 'directory') await this.#setParent(source, departing, target.directory);
      await this.#arrive(source, departing, departure, arrive);
    } catch (error) {
      // An answer may have been lost: the store knows whether the entry has arrived.
      isAccepted = await this.#decide(source, departure).catch(() => undefined);
      if (isAccepted !== true) {
        if (isAccepted === false) await bestEffort(this.#tidy(source, departing, departure, false));
        throw error;
      }
    }
    // The move is committed. If tidying up fails, the next client that needs one of the names does it.
    await bestEffort(this.#tidy(source, departing, departure, true));
  }

  /**
   * Returns an entry as it is now that it has a departure. From its
   * departure on, nobody changes an embedded directory. But changes may have been committed together with it.
   */
  async #frozen(source: Directory, entry: DirectoryEntry, { token }: Departure): Promise<DirectoryEntry> {
    if (entry.node.kind === 'object' || entry.node.inode.type !== 'directory') return entry;
    const now = await source.find(entry.name);
    if (now?.departure?.token !== token) throw inMotion();
    return now;
  }

  /** Decides a move: it is accepted already, or is refused for good. Returns whether it was accepted. */
  async #decide(source: Directory, departure: Departure): Promise<boolean> {
    return (await this.#answer(departure)) === 'accepted' || !(await this.#refuse(source, departure));
  }

  /** Does the steps that are left once a move was decided. */
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
    const validate = (): Promise<void> => this.#requireDeparture(source, entry);
    await this.applySettled(
      this.#inodes.directory(departure.directory),
      async draft => {
        const known = draft.directory.arrivals.find(arrival => arrival.token === token);
        if (known?.isAccepted === true) return;
        if (known !== undefined) throw inMotion();
        const { departure: _, ...arriving } = entry;
        await arrive(draft, { ...arriving, name: departure.name });
        const arrival = { token, source: source.key, isAccepted: true };
        draft.update({ arrivals: [...draft.directory.arrivals, arrival] });
      },
      { validate },
    );
  }

  /** Throws ECONFLICT when the entry has another departure by now, or none. */
  async #requireDeparture(
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
    // The entry may have arrived and been removed since, and then the folder.
    if (arrival === undefined) return inode.isDead ? 'dead' : 'open';
    return arrival.isAccepted ? 'accepted' : 'refused';
  }

  /** Makes sure that a move cannot be accepted any more. Returns false if it was accepted already. */
  async #refuse(source: Directory, departure: Departure): Promise<boolean> {
    const { token } = departure;
    if ((await this.#answer(departure)) === 'dead') return true;
    return await this.#inodes.directory(departure.directory).apply(draft => {
      const { inode } = draft;
      if (inode.type !== 'directory') return true;
      const known = inode.arrivals.find(arrival => arrival.token === token);
      // A removed folder accepts nothing any more.
      if (known === undefined && !inode.isDead) {
        draft.update({ arrivals: [...inode.arrivals, { token, source: source.key, isAccepted: false }] });
      }
      return known?.isAccepted !== true;
    });
  }

  async #takeBack(source: Directory, entry: DirectoryEntry, { token }: Departure): Promise<void> {
    const { node } = entry;
    if (node.kind === 'object' && node.type === 'directory') {
      await this.#inodes.get(keyOfReference(node)).apply(draft => {
        const { inode } = draft;
        if (inode.type !== 'directory' || inode.isDead) return;
        // Another move may have set the former parent since.
        if (inode.formerParent?.token === token)
          draft.update({ parent: source.key, formerParent: undefined });
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

  /** Notes the new parent of a directory that moves. Throws EINVAL if it would end up below itself. */
  async #setParent(
    source: Directory,
    { name, node, departure }: DirectoryEntry,
    target: Directory,
  ): Promise<void> {
    if (node.kind === 'embedded' || departure === undefined) return;
    const { token } = departure;
    const validate = (): Promise<void> => this.#requireDeparture(source, { name, departure });
    await this.#inodes.get(keyOfReference(node)).apply(
      draft => {
        // A former parent that another move left is a dead client's: only the client of this departure gets
        // here.
        draft.update({ parent: target.key, formerParent: { directory: source.key, token } });
        return draft.directory;
      },
      { validate },
    );
    await this.requireOutside(keyOfReference(node), target.key);
  }

  async #forgetFormerParent({ node }: DirectoryEntry, { token }: Departure): Promise<void> {
    if (node.kind === 'embedded' || node.type !== 'directory') return;
    await this.#inodes.get(keyOfReference(node)).apply(draft => {
      const { inode } = draft;
      if (inode.type === 'directory' && inode.formerParent?.token === token)
        draft.update({ formerParent: undefined });
    });
  }

  /** Throws EINVAL when a directory would be moved below itself. Takes the keys of both. */
  async requireOutside(moved: Id, target: Id): Promise<void> {
    if (await this.#isAbove(moved, target)) {
      throw new NetsealError('EINVAL', 'a folder cannot be moved into itself');
    }
  }

  /** Tells whether `upper` is on any way up from `lower`. It asks the store. */
  async #isAbove(upper: Id, lower: Id): Promise<boolean> {
    const seen = new Set<Id>();
    const queue = [lower];
    for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
      if (key === upper) return true;
      if (seen.has(key)) continue;
      seen.add(key);
      const inode = await this.#inodes.directory(key).read(0);
      // The root is its own parent.
      if (inode.parent !== undefined) queue.push(inode.parent);
      if (inode.formerParent !== undefined) queue.push(inode.formerParent.directory);
    }
    return false;
  }
}

/**
 * Promotes the embedded directories in which a change was made. Directories that the change itself makes stay
 * embedded.
 */
function takeOut(directories: readonly Directory[], drafts: readonly Draft[]): void {
  for (const [at, draft] of drafts.entries()) {
    if (draft.isChanged && directories[at]?.isUnborn === false) draft.promote();
  }
}

function inMotion(): NetsealError {
  return new NetsealError('ECONFLICT', 'another client is moving it: try again');
}
