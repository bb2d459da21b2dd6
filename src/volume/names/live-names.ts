/**
 * Tells which names count. A name may lead to a directory that is dead, or to something that has moved away:
 * the client that removed or moved it ended before it could remove the name.
 */
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry } from '../../server/sealed/inode.ts';
import type { Directory } from './directory.ts';
import type { Draft } from './draft.ts';
import type { Inodes } from './inodes.ts';
import type { Moves } from './moves.ts';
import { keyOfReference } from './references.ts';

/** A directory, and a name in it. */
export interface NamePlace {
  readonly directory: Directory;
  readonly name: Name;
}

/** An entry, and whether it counts. */
export interface FoundName {
  readonly entry: DirectoryEntry;
  readonly isLive: boolean;
}

export class LiveNames {
  readonly #inodes: Inodes;
  readonly #moves: Moves;

  constructor(inodes: Inodes, moves: Moves) {
    this.#inodes = inodes;
    this.#moves = moves;
  }

  /**
   * Returns the entry that a name leads to now; undefined when there is none. `maxAgeMs` as in
   * `Directory.find`. A new file of this session that is not in the store yet is found as an embedded one.
   */
  async find(directory: Directory, name: Name, maxAgeMs?: number): Promise<DirectoryEntry | undefined> {
    const unborn = this.#inodes.unbornNames.find({ directory, name });
    if (unborn !== undefined) return { name, node: { kind: 'embedded', inode: unborn.inode } };
    const entry = await directory.find(name, maxAgeMs);
    if (entry === undefined) return undefined;
    this.#inodes.notePlace(directory, entry);
    return (await this.isLive(entry)) ? entry : undefined;
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
    const unborn = this.#inodes.unbornNames.entriesOf(directory);
    for await (const stored of directory.entries(options)) {
      const last = stored.at(-1)?.name ?? '';
      const isLater = unborn.findIndex(({ name }) => name > last);
      const here = unborn.splice(0, isLater === -1 ? unborn.length : isLater);
      const entries = here.length === 0 ? stored : merged(stored, here);
      const departing = new Set<DirectoryEntry>();
      for (const entry of entries) {
        this.#inodes.notePlace(directory, entry);
        if (entry.departure !== undefined && !(await this.#moves.isHere(entry))) departing.add(entry);
      }
      yield departing.size === 0 ? entries : entries.filter(entry => !departing.has(entry));
    }
    if (unborn.length > 0) yield unborn;
  }

  /**
   * Returns the entry of a name in a draft, and whether it counts: one that leads to a dead directory does
   * not. Throws `DepartingError` if a move must be settled first.
   */
  async findLive(draft: Draft, name: Name): Promise<FoundName | undefined> {
    const entry = await draft.findSettled(name);
    return entry === undefined ? undefined : { entry, isLive: await this.isLive(entry) };
  }

  /** Returns false for the entry of a dead directory, and for one that has moved away. */
  async isLive(entry: DirectoryEntry): Promise<boolean> {
    if (!(await this.#moves.isHere(entry))) return false;
    if (entry.node.kind === 'embedded' || entry.node.type !== 'directory') return true;
    const live = this.#inodes.get(keyOfReference(entry.node));
    const inode = await live.read();
    return inode.type !== 'directory' || !inode.isDead;
  }
}

/** Merges new names into those of the store, ascending. Where both have a name, the store's counts. */
function merged(stored: readonly DirectoryEntry[], unborn: readonly DirectoryEntry[]): DirectoryEntry[] {
  const there = new Set(stored.map(({ name }) => name));
  const all = [...stored, ...unborn.filter(({ name }) => !there.has(name))];
  return all.sort((left, right) => (left.name < right.name ? -1 : 1));
}
