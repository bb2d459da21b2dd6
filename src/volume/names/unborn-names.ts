/**
 * Names of new files that are open and not in the store yet. This session finds and lists them like any
 * others. A file's first commit puts its name into the store, together with its content.
 *
 *   unborn ──first commit──▶ born: in the store, and forgotten here
 *     └──removed here──▶ dropped: nothing was ever in the store
 *
 * Invariants
 *   1. Before a name is changed in this session, an unborn file of that name is committed or dropped.
 *   2. While a name is changed, no unborn file gets it.
 *   3. A file is unborn until this session reads its name from the store. So a name is found at any time.
 *   4. A file whose first commit is under way, or may have happened, is not dropped.
 */
import { NetsealError } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, FileInode } from '../../server/sealed/inode.ts';
import type { Directory } from './directory.ts';
import type { OpenPlaces } from './open-places.ts';

interface Named {
  readonly directory: Directory;
  readonly name: Name;
}

/** A new file that is not in the store yet. */
export interface UnbornFile extends Named {
  readonly inode: FileInode;
  /** True while its first commit is under way, or may have happened. */
  isBeingBorn: boolean;
  /** Commits it. */
  readonly commit: () => Promise<void>;
}

export class UnbornNames {
  readonly #openPlaces: OpenPlaces;
  readonly #files = new Map<Id, UnbornFile>();
  /** All unborn files, by the id of their folder, then by name. */
  readonly #folders = new Map<Id, Map<Name, UnbornFile>>();
  /** Changes of names that are under way, by folder and name. None of these promises rejects. */
  readonly #changing = new Map<Id, Map<Name, readonly Promise<void>[]>>();

  constructor(openPlaces: OpenPlaces) {
    this.#openPlaces = openPlaces;
  }

  /** Returns the file of an inode, if it is not in the store yet. */
  get(id: Id): UnbornFile | undefined {
    return this.#files.get(id);
  }

  /** Returns the file of a name, if it is not in the store yet. */
  find({ directory, name }: Named): UnbornFile | undefined {
    return this.#folders.get(directory.id)?.get(name);
  }

  /** Returns the entries of a folder that are not in the store yet, ascending. */
  entriesOf(directory: Directory): DirectoryEntry[] {
    const files = [...(this.#folders.get(directory.id)?.values() ?? [])];
    return files.map(entryOf).sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  /** True when there is an unborn file in the folder of an inode. */
  hasAnyIn(id: Id): boolean {
    return this.#folders.has(id);
  }

  get isEmpty(): boolean {
    return this.#files.size === 0;
  }

  /** Adds a file. Look in the same turn that its name {@link isFree}. */
  add(file: UnbornFile): void {
    const { directory, name, inode } = file;
    if (!this.isFree(file)) throw new NetsealError('EBUG', 'an unborn file has this name');
    this.#files.set(inode.id, file);
    inMap(this.#folders, directory.id).set(name, file);
  }

  /** True when no unborn file has the name, and nobody changes it. */
  isFree(place: Named): boolean {
    const { directory, name } = place;
    return this.find(place) === undefined && this.#changing.get(directory.id)?.has(name) !== true;
  }

  /** Forgets a file: it is in the store, or will never be. */
  remove(id: Id): void {
    const file = this.#files.get(id);
    if (file === undefined) return;
    this.#files.delete(id);
    outOfMap(this.#folders, file.directory.id, file.name);
  }

  /** Removes the name of an unborn file. False when there is none, or its first commit is under way. */
  drop(place: Named): boolean {
    const file = this.find(place);
    if (file === undefined || file.isBeingBorn) return false;
    this.remove(file.inode.id);
    this.#openPlaces.removed(entryOf(file));
    return true;
  }

  /**
   * Changes names, after committing the unborn files among them. Rejects with what committing a file throws,
   * with ECONFLICT when another client has taken the name meanwhile, and with what `change` throws.
   */
  async changing<Result>(places: readonly Named[], change: () => Promise<Result>): Promise<Result> {
    while (places.some(place => this.find(place) !== undefined)) {
      for (const place of places) await this.#settle(place);
    }
    const ended = Promise.withResolvers<void>();
    for (const { directory, name } of places) {
      const names = inMap(this.#changing, directory.id);
      names.set(name, [...(names.get(name) ?? []), ended.promise]);
    }
    try {
      return await change();
    } finally {
      for (const { directory, name } of places) {
        const left = this.#changing
          .get(directory.id)
          ?.get(name)
          ?.filter(other => other !== ended.promise);
        if (left === undefined || left.length === 0) outOfMap(this.#changing, directory.id, name);
        else inMap(this.#changing, directory.id).set(name, left);
      }
      ended.resolve();
    }
  }

  /** Waits for the changes of a name that are under way now. */
  async changed({ directory, name }: Named): Promise<void> {
    await Promise.all(this.#changing.get(directory.id)?.get(name) ?? []);
  }

  /** Commits all files. */
  async settleAll(): Promise<void> {
    for (const file of [...this.#files.values()]) await this.#settle(file);
  }

  /** Commits a file that is not in the store yet. */
  async settleFile(id: Id): Promise<void> {
    const file = this.#files.get(id);
    if (file !== undefined) await file.commit();
  }

  async #settle(place: Named): Promise<void> {
    for (let file = this.find(place); file !== undefined; file = this.find(place)) {
      const { id } = file.inode;
      await file.commit();
      if (this.#files.get(id) === file) throw new NetsealError('ECONFLICT', 'the new file was given up');
      const now = this.#openPlaces.placeOf(id);
      if (now !== undefined && now.name !== place.name && !now.isRemoved) {
        throw new NetsealError('ECONFLICT', 'another client has made a file of this name meanwhile');
      }
    }
  }
}

function entryOf({ name, inode }: UnbornFile): DirectoryEntry {
  return { name, node: { kind: 'embedded', inode } };
}

function inMap<Value>(map: Map<Id, Map<Name, Value>>, id: Id): Map<Name, Value> {
  const known = map.get(id) ?? new Map<Name, Value>();
  map.set(id, known);
  return known;
}

function outOfMap<Value>(map: Map<Id, Map<Name, Value>>, id: Id, name: Name): void {
  const known = map.get(id);
  known?.delete(name);
  if (known?.size === 0) map.delete(id);
}
