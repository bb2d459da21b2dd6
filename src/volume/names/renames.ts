/**
 * Renames. Within one host they take one commit. Between two objects they are moves, which take steps: see
 * `moves.ts`.
 */
import { codeOf, NetsealError } from '../../base/errors.ts';
import type { DirectoryEntry } from '../../server/sealed/inode.ts';
import type { Session } from '../session/session.ts';
import { type Directory, OtherHostError } from './directory.ts';
import type { Draft } from './draft.ts';
import type { Inodes } from './inodes.ts';
import { dropLink } from './link-count.ts';
import type { LiveNames, NamePlace } from './live-names.ts';
import type { Arrive, Moves } from './moves.ts';
import { checkName } from './name-checks.ts';
import { idOfEntry, isObjectDirectory, keyOfEntry, typeOfEntry } from './references.ts';
import { noEntry, type Removals, requireEmpty } from './removals.ts';
import { alreadyThere, requireReplaceable } from './replaceable.ts';

/** How often a rename begins anew because another client was quicker. */
const ATTEMPTS_MAX = 16;

export class Renames {
  readonly #session: Session;
  readonly #inodes: Inodes;
  readonly #moves: Moves;
  readonly #names: LiveNames;
  readonly #removals: Removals;

  constructor(session: Session, inodes: Inodes, moves: Moves, names: LiveNames, removals: Removals) {
    this.#session = session;
    this.#inodes = inodes;
    this.#moves = moves;
    this.#names = names;
    this.#removals = removals;
  }

  /**
   * Moves a name. It replaces a file or an empty directory, as in POSIX.
   *
   * Rejects with ENOENT, EISDIR, ENOTDIR, ENOTEMPTY; EINVAL when a folder would be moved into itself; EEXIST
   * if `replace` is false and the name is taken.
   */
  async rename(
    source: NamePlace,
    target: NamePlace,
    { replace = true }: { readonly replace?: boolean } = {},
  ): Promise<void> {
    checkName(target.name);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#rename(source, target, replace);
        return;
      } catch (error) {
        const beginsAnew = error instanceof OtherHostError || error instanceof OtherEntryError;
        if (!beginsAnew || attempt === ATTEMPTS_MAX) throw error;
      }
    }
  }

  /**
   * Rejects with {@link OtherHostError} when one of the folders has become an object meanwhile, with
   * {@link OtherEntryError} when the name leads to something else.
   */
  async #rename(source: NamePlace, target: NamePlace, replace: boolean): Promise<void> {
    const entry = await this.#names.find(source.directory, source.name);
    if (entry === undefined) throw noEntry();
    if (entry.departure !== undefined) await this.#moves.settle(source.directory, entry);
    const there = await this.#names.find(target.directory, target.name);
    // Source and target are names of one file: as in POSIX, both stay.
    if (there !== undefined && idOfEntry(there) === idOfEntry(entry)) {
      // Another client may just have renamed one to the other: the source must still be there.
      const now = await source.directory.find(source.name, 0);
      if (now === undefined) throw noEntry();
      if (idOfEntry(now) !== idOfEntry(entry)) throw new OtherEntryError();
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
      await this.#moves.promote(target.directory);
      await this.#moves.move(source.directory, entry, target, arrive);
    }
    this.#inodes.openPlaces.moved(entry, source, target);
    if (replaced !== undefined) await dropLink(this.#session, this.#inodes, replaced);
  }

  /** Moves a name within one host, in one commit. */
  async #renameInHost(
    source: NamePlace,
    target: NamePlace,
    entry: DirectoryEntry,
    arrive: Arrive,
  ): Promise<void> {
    await this.#moves.applyAllSettled([source.directory, target.directory], async ([from, to]) => {
      if (from === undefined || to === undefined) throw new NetsealError('EBUG', 'a folder was not opened');
      const found = await from.findSettled(source.name);
      if (found === undefined || idOfEntry(found) !== idOfEntry(entry)) throw noEntry();
      if (!(await this.#names.isLive(found))) throw noEntry();
      if (isObjectDirectory(found) && target.directory.isEmbedded) throw new OtherHostError();
      requireNotBelow(found, target.directory);
      const there = await this.#names.findLive(to, target.name);
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
    const found = await this.#names.findLive(draft, arriving.name);
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
}

/** Throws EINVAL when a directory lies in the embedded directory of an entry, or is that directory. */
function requireNotBelow(entry: DirectoryEntry, directory: Directory): void {
  const { steps } = directory.path;
  if (steps.some(({ id }) => id === idOfEntry(entry))) {
    throw new NetsealError('EINVAL', 'a folder cannot be moved into itself');
  }
}

function changedMeanwhile(): NetsealError {
  return new NetsealError('ECONFLICT', 'another client changed what is there meanwhile: try again');
}

/** Signals that another client has given the name to something else meanwhile. */
class OtherEntryError extends NetsealError {
  constructor() {
    super('ECONFLICT', 'another client has given this name to something else meanwhile: try again');
  }
}
