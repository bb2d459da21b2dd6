/**
 * The open folders of a directory store.
 *
 * Paths start from a folder's descriptor. So an attacker who replaces a folder with a symbolic link cannot
 * lead the store to a place outside of itself. And each folder syncs once for all callers that wait for it.
 */
import { closeSync, constants, existsSync, fstatSync, fsync, mkdir, open } from 'node:fs';
import { promisify } from 'node:util';
import { systemCodeOf } from '../base/errors.ts';
import { type StoreModes, setMode } from './directory-modes.ts';

const openAsync = promisify(open);
const mkdirAsync = promisify(mkdir);
const fsyncAsync = promisify(fsync);

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
const FOLDERS_MAX = 64;

/** An open folder. */
export class Folder {
  readonly fd: number;
  /** A path to the folder: through the descriptor, or on systems that have no such path, its name. */
  readonly path: string;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  /** Resolves when the folder's own name is on the disk. Undefined until a caller needs that. */
  durable: Promise<void> | undefined;

  constructor(fd: number, name: string) {
    this.fd = fd;
    const throughFd = `/proc/self/fd/${fd}`;
    this.path = existsSync(throughFd) ? throughFd : name;
  }

  static async open(path: string): Promise<Folder> {
    return new Folder(await openAsync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), path);
  }

  /**
   * Resolves when all names that are in it now are on the disk. Callers that come during a sync share the
   * next one.
   */
  sync(): Promise<void> {
    if (this.#running === undefined) {
      this.#running = fsyncAsync(this.fd).finally(() => {
        this.#running = undefined;
      });
      return this.#running;
    }
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.sync();
      });
    return this.#next;
  }

  /** True when the folder was removed while it was open. */
  isRemoved(): boolean {
    return fstatSync(this.fd).nlink === 0;
  }

  close(): void {
    closeSync(this.fd);
  }
}

interface Entry {
  readonly names: readonly string[];
  readonly folder: Promise<Folder>;
  /** The folder is made if it is missing. */
  readonly create: boolean;
  users: number;
  isDropped: boolean;
}

/** How a caller uses a folder. */
export interface FolderUse {
  /** Makes the folders that are missing. */
  readonly create: boolean;
  /** Makes sure first that the folder's name is on the disk. */
  readonly durable: boolean;
}

export class FolderCache {
  readonly #root: Folder;
  readonly #modes: StoreModes;
  readonly #entries = new Map<string, Entry>();

  constructor(root: Folder, modes: StoreModes) {
    this.#root = root;
    this.#modes = modes;
  }

  /**
   * Runs `action` with the folder of these names, which stays open that long. Repeats it once if the folder
   * was removed.
   */
  async use<Result>(
    names: readonly string[],
    how: FolderUse,
    action: (folder: Folder) => Promise<Result>,
  ): Promise<Result> {
    if (names.length === 0) return action(this.#root);
    for (let attempt = 0; ; attempt += 1) {
      const entry = this.#hold(names, how);
      try {
        const folder = await settledFolder(entry);
        if (folder === undefined) {
          // The folder was missing when a reader looked for it. This caller makes it.
          if (how.create && !entry.create) continue;
          return await action(await entry.folder);
        }
        if (how.durable) await this.#makeDurable(names, folder);
        try {
          return await action(folder);
        } catch (error) {
          const isStale = systemCodeOf(error) === 'ENOENT' && folder.isRemoved();
          if (!isStale || attempt > 0) throw error;
          this.#drop(entry);
        }
      } finally {
        this.#letGo(entry);
      }
    }
  }

  close(): void {
    for (const entry of [...this.#entries.values()]) this.#drop(entry);
  }

  /**
   * Syncs the names of a folder and of all folders above it, each at most once. Also for folders that were
   * there already: the process that made one may have died before it synced.
   */
  #makeDurable(names: readonly string[], folder: Folder): Promise<void> {
    folder.durable ??= this.use(names.slice(0, -1), { create: false, durable: true }, parent =>
      parent.sync(),
    ).catch(error => {
      folder.durable = undefined;
      throw error;
    });
    return folder.durable;
  }

  #hold(names: readonly string[], how: FolderUse): Entry {
    const id = names.join('/');
    const present = this.#entries.get(id);
    if (present !== undefined) {
      // Keeps the entries in order of use.
      this.#entries.delete(id);
      this.#entries.set(id, present);
      present.users += 1;
      return present;
    }
    const entry: Entry = {
      names,
      folder: this.#open(names, how),
      create: how.create,
      users: 1,
      isDropped: false,
    };
    this.#entries.set(id, entry);
    entry.folder.catch(() => this.#drop(entry));
    this.#closeIdle();
    return entry;
  }

  #open(names: readonly string[], how: FolderUse): Promise<Folder> {
    // The folder's name may not be on the disk yet: `use` sees to that when its caller asks for it.
    return this.use(names.slice(0, -1), { create: how.create, durable: false }, async parent => {
      const path = `${parent.path}/${names.at(-1)}`;
      try {
        return await Folder.open(path);
      } catch (error) {
        if (!how.create || systemCodeOf(error) !== 'ENOENT') throw error;
      }
      return openOrMakeFolder(path, this.#modes);
    });
  }

  #letGo(entry: Entry): void {
    entry.users -= 1;
    if (entry.users === 0 && entry.isDropped) closeEntry(entry);
    else this.#closeIdle();
  }

  #closeIdle(): void {
    if (this.#entries.size <= FOLDERS_MAX) return;
    for (const entry of this.#entries.values()) {
      if (entry.users > 0) continue;
      this.#drop(entry);
      if (this.#entries.size <= FOLDERS_MAX) return;
    }
  }

  /** Takes a folder out of the cache, and closes it when no caller uses it any more. */
  #drop(entry: Entry): void {
    if (entry.isDropped) return;
    entry.isDropped = true;
    this.#entries.delete(entry.names.join('/'));
    if (entry.users === 0) closeEntry(entry);
  }
}

/** Returns the opened folder; undefined when it is missing. */
async function settledFolder(entry: Entry): Promise<Folder | undefined> {
  try {
    return await entry.folder;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function closeEntry(entry: Entry): void {
  entry.folder.then(
    folder => folder.close(),
    () => undefined,
  );
}

/** Makes a folder unless there is one. Returns whether it made one. */
export async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdirAsync(path);
    return true;
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error;
    return false;
  }
}

/** Opens a folder. Makes it if it is missing; it then has the modes of the store. */
export async function openOrMakeFolder(path: string, modes: StoreModes): Promise<Folder> {
  const isNew = await makeFolder(path);
  const folder = await Folder.open(path);
  if (isNew) setMode(folder.fd, modes.folder);
  return folder;
}
