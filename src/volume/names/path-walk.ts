/** Walks paths from the root of a volume: folder by folder, and through symlinks. */
import { NetsealError, requireArgument } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { DirectoryEntry, Inode } from '../../server/sealed/inode.ts';
import type { Directory } from './directory.ts';
import type { Inodes } from './inodes.ts';
import { endsInFolder, nameBytes } from './name-checks.ts';
import type { Namespace } from './namespace.ts';
import { typeOfEntry } from './references.ts';

/** How many symlinks one path may go through: as many as on Linux. */
const SYMLINKS_MAX = 40;

/** What a path leads to. */
export interface Found {
  readonly inode: Inode;
  /** The folder that holds the last name of the path. Undefined for the root, as is `entry`. */
  readonly parent: Directory | undefined;
  readonly entry: DirectoryEntry | undefined;
  /** The names that lead there from the root, without any symlink. */
  readonly names: readonly Name[];
}

/** The place of a path: a folder and a name in it. The name need not exist. */
export interface Place {
  readonly directory: Directory;
  readonly name: Name;
}

export interface ResolveOptions {
  /**
   * Follows a symlink at the end of the path. Symlinks on the way, and before a `/` at the end, are always
   * followed. Default false.
   */
  readonly follow?: boolean | undefined;
}

export interface PlaceOptions {
  /** The name is for a folder: it may be missing although the path ends in `/`. Default false. */
  readonly forFolder?: boolean | undefined;
  /**
   * True: a symlink of that name is followed. The place is then that of its target, even if nothing is there.
   * Default false.
   */
  readonly follow?: boolean | undefined;
}

/** How a path is walked. */
interface WalkOptions {
  readonly follow: boolean;
  /** Rejects with ENOTDIR when the path leads to anything but a folder. */
  readonly needsFolder: boolean;
  /** How many symlinks it may still go through. */
  readonly budget: { left: number };
}

export class PathWalk {
  readonly #inodes: Inodes;
  readonly #namespace: Namespace;
  readonly #rootId: Id;

  constructor(inodes: Inodes, namespace: Namespace, rootId: Id) {
    this.#inodes = inodes;
    this.#namespace = namespace;
    this.#rootId = rootId;
  }

  /** Returns the inode that a list of names, from the root on, leads to. See `Volume.find`. */
  async find(
    names: readonly Name[],
    { follow, needsFolder }: Pick<WalkOptions, 'follow' | 'needsFolder'>,
  ): Promise<Found> {
    const budget = { left: SYMLINKS_MAX };
    return await this.#walk(names, { follow: follow || needsFolder, needsFolder, budget });
  }

  /** Returns the place of a name below the folder that `names` lead to. See `Volume.place`. */
  async place(
    names: readonly Name[],
    name: Name,
    options: { readonly forFolder: boolean; readonly needsFolder: boolean; readonly follow: boolean },
  ): Promise<Place> {
    const { forFolder, needsFolder, follow } = options;
    const found = await this.find(names, { follow: true, needsFolder: true });
    const directory = this.directoryOf(found);
    if (needsFolder) {
      const entry = await this.#namespace.find(directory, name);
      if (entry === undefined && !forFolder) throw noSuchPath([...names, name]);
      if (entry !== undefined && typeOfEntry(entry) !== 'directory') throw noFolder([...names, name]);
    }
    const place = { directory, name };
    return follow ? await this.#placeThroughLinks(place, found.names) : place;
  }

  /**
   * Returns the place of what symlinks lead to in the end. `names` lead to the place's folder, without
   * symlinks.
   */
  async #placeThroughLinks(place: Place, names: readonly Name[]): Promise<Place> {
    let [now, from] = [place, names];
    for (let left = SYMLINKS_MAX; ; left -= 1) {
      const entry = await this.#namespace.find(now.directory, now.name);
      if (entry === undefined) return now;
      const inode = await this.#inodes.inodeOf(entry);
      if (inode.type !== 'symlink') return now;
      requireArgument(left > 0, `too many symbolic links on the way to /${shown([...names, place.name])}`);
      const target = linkTarget(from, inode.target);
      const name = target.at(-1);
      if (name === undefined || endsInFolder(inode.target))
        throw new NetsealError('EISDIR', 'the link leads to a folder');
      const found = await this.find(target.slice(0, -1), { follow: true, needsFolder: true });
      now = { directory: this.directoryOf(found), name };
      from = found.names;
    }
  }

  /** Returns the folder that was found. ENOTDIR for anything else. */
  directoryOf({ inode, parent, entry }: Omit<Found, 'names'>): Directory {
    if (inode.type !== 'directory') throw new NetsealError('ENOTDIR', 'this is not a folder');
    if (parent === undefined || entry === undefined) return this.#inodes.directory(this.#rootId);
    return this.#inodes.directoryOf(parent, entry);
  }

  async #walk(names: readonly Name[], options: WalkOptions): Promise<Found> {
    const { follow, needsFolder, budget } = options;
    let found: Found = {
      inode: await this.#inodes.get(this.#rootId).read(),
      parent: undefined,
      entry: undefined,
      names: [],
    };
    for (const [at, name] of names.entries()) {
      if (found.inode.type !== 'directory') throw noFolder(names.slice(0, at));
      const parent = this.directoryOf(found);
      const entry = await this.#namespace.find(parent, name);
      if (entry === undefined) throw noSuchPath(names.slice(0, at + 1));
      const inode = await this.#inodes.inodeOf(entry);
      const isLast = at === names.length - 1;
      if (inode.type === 'symlink' && (!isLast || follow)) {
        budget.left -= 1;
        requireArgument(budget.left > 0, `too many symbolic links on the way to /${shown(names)}`);
        const target = [...linkTarget(names.slice(0, at), inode.target), ...names.slice(at + 1)];
        const leadsToFolder = isLast && endsInFolder(inode.target);
        return await this.#walk(target, { ...options, needsFolder: needsFolder || leadsToFolder });
      }
      found = { inode, parent, entry, names: names.slice(0, at + 1) };
    }
    if (needsFolder && found.inode.type !== 'directory') throw noFolder(names);
    return found;
  }
}

/** Returns the names, from the root on, that a symlink leads to. The root is its own parent. */
function linkTarget(from: readonly Name[], target: Uint8Array): Name[] {
  const text = Buffer.from(target).toString('latin1');
  const names = text.startsWith('/') ? [] : [...from];
  for (const part of text.split('/')) {
    if (part === '..') names.pop();
    else if (part !== '' && part !== '.') names.push(part);
  }
  return names;
}

function noSuchPath(names: readonly Name[]): NetsealError {
  return new NetsealError('ENOENT', `no such file or folder: /${shown(names)}`, { path: `/${shown(names)}` });
}

function noFolder(names: readonly Name[]): NetsealError {
  return new NetsealError('ENOTDIR', `this is no folder: /${shown(names)}`, { path: `/${shown(names)}` });
}

function shown(names: readonly Name[]): string {
  return names.map(name => nameBytes(name).toString('utf8')).join('/');
}
