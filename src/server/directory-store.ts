/**
 * A store that keeps objects as files below one folder. Any number of processes may use the folder at once.
 * `docs/STORES.md` describes what is on the disk.
 *
 * Invariants
 *   1. Only a complete file gets a name below `objects/`: by link() when the name is free, by rename()
 *      otherwise. So readers see the old or the new object, and a crash at any point leaves one of them.
 *   2. Objects are replaced and removed only under the store's lock, so nothing changes between a compare and
 *      its swap. link() needs no lock, because it never replaces.
 *   3. A change is acknowledged when the file, its name and the names of its folders are on the disk.
 *   4. No path that depends on a key, or on what is in the store, follows a symbolic link.
 */

import {
  closeSync,
  constants,
  fstatSync,
  link,
  lstatSync,
  open,
  openSync,
  readSync,
  realpath,
  renameSync,
  type Stats,
} from 'node:fs';
import { promisify } from 'node:util';
import {
  requireFlag,
  requireMethods,
  requireObject,
  requireOptions,
  requireText,
  shownValue,
} from '../base/arguments.ts';
import type { CallOptions } from '../base/call-options.ts';
import { codeOf, type ErrorCode, NetsealError, requireArgument, systemCodeOf } from '../base/errors.ts';
import { type Scheduler, systemScheduler } from '../base/scheduler.ts';
import { readAsync } from '../system/file-bytes.ts';
import { Folder, FolderCache, makeFolder, openOrMakeFolder } from './directory-folders.ts';
import { entryOf, findStoredKeys } from './directory-list.ts';
import { type StoreModes, storeModes } from './directory-modes.ts';
import { DIRECTORY_NAMES } from './directory-names.ts';
import { DirectorySession } from './directory-session.ts';
import { Gate } from './gate.ts';
import { sortKeys } from './key-walk.ts';
import { newHeader, OBJECT_HEADER_BYTES, type ObjectHeader, readHeader } from './object-frame.ts';
import {
  checkKey,
  checkPut,
  conflictError,
  coveredBytes,
  type GetOptions,
  type GetResult,
  type ListEntry,
  type ListOptions,
  type ListPage,
  type ObjectStat,
  type ObjectStore,
  type PutOptions,
  pageLimit,
  rangeOf,
  type StoreCapabilities,
  totalBytes,
  type Version,
} from './store.ts';
import { storeError, textOfSystemError } from './system-errors.ts';

const openAsync = promisify(open);
const linkAsync = promisify(link);
const realpathAsync = promisify(realpath);

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
/**
 * Only a regular file may be there. O_NONBLOCK, so that opening a pipe does not wait before that is checked.
 */
const OPEN_TO_READ = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

/** Requests that run at once: each needs a descriptor or two. */
const REQUESTS_MAX = 64;
const STATS_AT_ONCE = 32;
/** The most that one system call reads, so that an abort takes effect between two calls. */
const READ_BYTES_MAX = 16 * 1024 * 1024;

export interface DirectoryStoreSettings {
  /** Makes the folder if it is missing. Its parent must exist. Default: false. */
  readonly create?: boolean;
  /**
   * Which changes survive. Default: `fsync`.
   *
   * - `fsync`: acknowledged changes survive a power cut.
   * - `none`: they survive the death of the process. After a power cut objects may be missing or damaged;
   *   `get` reports that.
   */
  readonly durability?: 'fsync' | 'none';
}

export class DirectoryStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities = {
    createIfAbsent: 'atomic',
    replaceIfMatch: 'atomic',
    atomicPut: true,
    rangedGet: true,
    sharedMemory: true,
    listIsConsistent: true,
    listHasVersions: false,
    serverClock: true,
    objectBytesMax: 2 ** 43,
    listEntriesMax: 100_000,
  };
  /** Absolute, without symbolic links. */
  readonly localFolder: string;
  readonly #modes: StoreModes;
  readonly #objects: Folder;
  readonly #folders: FolderCache;
  readonly #durable: boolean;
  readonly #scheduler: Scheduler;
  readonly #gate: Gate;
  /** Started by the first change: a reader needs no permission to write. */
  #session: Promise<DirectorySession> | undefined;
  #leftovers: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Opens the store in the folder `path`. The path may lead through symbolic links. EMISSING when there is no
   * store and `create` is not set, EDENIED, EIO.
   */
  static async open(
    path: string,
    settings: DirectoryStoreSettings = {},
    scheduler: Scheduler = systemScheduler,
  ): Promise<DirectoryStore> {
    requireText('path', path);
    requireArgument(
      path !== '' && !path.includes('\0'),
      `a directory store needs a folder, not ${shownValue(path)}`,
    );
    requireObject('settings', settings);
    const { create, durability } = settings;
    requireFlag('settings.create', create);
    requireArgument(
      durability === undefined || durability === 'fsync' || durability === 'none',
      `settings.durability must be fsync or none, not ${shownValue(durability)}`,
    );
    requireMethods('scheduler', scheduler, ['now', 'sleep']);
    try {
      if (settings.create === true) await makeFolder(path);
      const rootPath = await realpathAsync(path);
      const objectsPath = `${rootPath}/objects`;
      const modes = await storeModes(rootPath);
      const objects =
        settings.create === true
          ? await openOrMakeFolder(objectsPath, modes)
          : await Folder.open(objectsPath);
      const durable = settings.durability !== 'none';
      if (settings.create === true && durable) await syncNames(rootPath);
      return new DirectoryStore(path, rootPath, modes, objects, durable, scheduler);
    } catch (error) {
      throw storeError(path, 'objects', error);
    }
  }

  private constructor(
    name: string,
    rootPath: string,
    modes: StoreModes,
    objects: Folder,
    durable: boolean,
    scheduler: Scheduler,
  ) {
    this.name = name;
    this.localFolder = rootPath;
    this.#objects = objects;
    this.#modes = modes;
    this.#folders = new FolderCache(objects, modes);
    this.#durable = durable;
    this.#scheduler = scheduler;
    this.#gate = new Gate(name, REQUESTS_MAX);
  }

  async get(key: string, options: GetOptions = {}): Promise<GetResult> {
    checkKey(key);
    const range = rangeOf(options);
    return this.#run(
      key,
      options.signal,
      () =>
        this.#withObject(key, async (fd, { version, sizeBytes }) => {
          if (options.ifMatch !== undefined && options.ifMatch !== version)
            throw conflictError(this.name, key);
          const lengthBytes = coveredBytes(range, sizeBytes);
          const bytes = options.into?.subarray(0, lengthBytes) ?? allocate(lengthBytes);
          await readFully(fd, bytes, OBJECT_HEADER_BYTES + range.offsetBytes, options.signal);
          return { bytes, version, sizeBytes };
        }),
      'EMISSING',
    );
  }

  async put(
    key: string,
    parts: readonly Uint8Array[],
    options: PutOptions = {},
  ): Promise<{ version: Version }> {
    checkKey(key);
    checkPut(parts, options);
    const { signal, condition } = options;
    return this.#run(key, signal, async () => {
      const session = await this.#writer();
      const { bytes: header, version } = newHeader(totalBytes(parts));
      const partial = await session.write([header, ...parts], this.#durable, signal);
      try {
        const { folders, file } = DIRECTORY_NAMES.keyToPath(key);
        await this.#folders.use(folders, { create: true, durable: this.#durable }, async folder => {
          const target = `${folder.path}/${file}`;
          if (condition !== undefined && 'ifMatch' in condition) {
            await session.locked(() => this.#swap(partial, target, key, condition.ifMatch), signal);
          } else if (!(await this.#linkNew(partial, target, signal))) {
            if (condition !== undefined) throw conflictError(this.name, key);
            await session.locked(() => renameSync(partial, target), signal);
          }
          await this.#syncChange(folder, key);
        });
      } finally {
        // After link() the partial file still has this name as well; after rename() it has not.
        await session.discard(partial);
      }
      return { version };
    });
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectStat> {
    checkKey(key);
    requireOptions('options', options);
    return this.#run(
      key,
      options.signal,
      () =>
        this.#withObject(key, async (_, { version, sizeBytes }, stats) => ({
          version,
          sizeBytes,
          modifiedAtMs: Math.floor(stats.mtimeMs),
        })),
      'EMISSING',
    );
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    requireOptions('options', options);
    const { signal } = options;
    await this.#run(key, signal, async () => {
      const session = await this.#writer();
      const { folders, file } = DIRECTORY_NAMES.keyToPath(key);
      // Removing a large file takes time. So it is only renamed under the lock, and removed after that.
      const outgoing = session.newPartialPath();
      try {
        await this.#folders.use(folders, { create: false, durable: false }, async folder => {
          const target = `${folder.path}/${file}`;
          const isGone = await session.locked(() => this.#moveOut(target, outgoing, key), signal);
          // Also when there was no object: another process that removed it may not have synced yet.
          await this.#syncChange(folder, key);
          if (isGone) await session.discard(outgoing);
        });
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOENT') throw error;
      }
    });
  }

  async list(options: ListOptions): Promise<ListPage> {
    const limit = pageLimit(options, this.capabilities.listEntriesMax);
    const { prefix = '', signal } = options;
    return this.#run(prefix, signal, async () => {
      const found = await findStoredKeys(this.#folders, options);
      const keys = sortKeys([...found.keys()]);
      const page = keys.slice(0, limit);
      const entries: ListEntry[] = [];
      for (let at = 0; at < page.length; at += STATS_AT_ONCE) {
        signal?.throwIfAborted();
        const some = page.slice(at, at + STATS_AT_ONCE);
        const stats = await Promise.all(some.map(key => entryOf(this.#folders, key, found.get(key) ?? [])));
        entries.push(...stats.filter(entry => entry !== undefined));
      }
      return keys.length > limit ? { entries, next: page.at(-1) } : { entries };
    });
  }

  /**
   * The clock of the file system, from a new file; this machine's clock where no file can be made: in a
   * read-only store, and on a full disk.
   */
  async now(options: CallOptions = {}): Promise<number> {
    requireOptions('options', options);
    return this.#run('', options.signal, async () => {
      try {
        return (await this.#writer()).now();
      } catch (error) {
        const code = codeOf(storeError(this.name, '', error));
        if (code !== 'EDENIED' && code !== 'EFULL') throw error;
        return Date.now();
      }
    });
  }

  /** Removes files that crashed processes left behind. The first change does so anyway. */
  async removeLeftovers(): Promise<void> {
    await this.#run('partial', undefined, async () => (await this.#writer()).removeLeftovers());
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.#gate.close();
    const session = await this.#session?.catch(() => undefined);
    await this.#leftovers;
    await session?.end();
    this.#folders.close();
    this.#objects.close();
  }

  /** Runs every operation: bounds the number of descriptors, and translates errors into those of a store. */
  async #run<Result>(
    key: string,
    signal: AbortSignal | undefined,
    action: () => Promise<Result>,
    codeOfMissing: ErrorCode = 'EIO',
  ): Promise<Result> {
    try {
      return await this.#gate.run(action, signal);
    } catch (error) {
      if (signal?.aborted === true && error === signal.reason) throw error;
      throw storeError(this.name, key, error, codeOfMissing);
    }
  }

  #writer(): Promise<DirectorySession> {
    if (this.#session === undefined) {
      const session = DirectorySession.start(this.localFolder, this.#modes, this.#scheduler);
      this.#session = session;
      this.#leftovers = session.then(started => started.removeLeftovers()).catch(() => undefined);
      // So that the next change tries again.
      session.catch(() => {
        this.#session = undefined;
      });
    }
    return this.#session;
  }

  /** Links the partial file to its name. False when the name is taken. */
  async #linkNew(partial: string, target: string, signal: AbortSignal | undefined): Promise<boolean> {
    signal?.throwIfAborted();
    try {
      await linkAsync(partial, target);
      return true;
    } catch (error) {
      if (systemCodeOf(error) === 'EEXIST') return false;
      throw error;
    }
  }

  /** Replaces the object if it has the expected version. The lock must be held. */
  #swap(partial: string, target: string, key: string, expected: Version): void {
    if (this.#versionAt(target, key) !== expected) throw conflictError(this.name, key);
    renameSync(partial, target);
  }

  /** Moves an object out of `objects`. False when there is none. The lock must be held. */
  #moveOut(target: string, outgoing: string, key: string): boolean {
    const stats = lstatSync(target, { throwIfNoEntry: false });
    if (stats === undefined) return false;
    if (!stats.isFile()) throw this.#damagedError(key);
    renameSync(target, outgoing);
    return true;
  }

  #versionAt(target: string, key: string): Version | undefined {
    let fd: number;
    try {
      fd = openSync(target, OPEN_TO_READ);
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const stats = fstatSync(fd);
      if (!stats.isFile()) throw this.#damagedError(key);
      const header = new Uint8Array(OBJECT_HEADER_BYTES);
      const readBytes = readSync(fd, header, 0, OBJECT_HEADER_BYTES, 0);
      return this.#checkedHeader(header.subarray(0, readBytes), stats, key).version;
    } finally {
      closeSync(fd);
    }
  }

  /** Syncs a change. EUNCERTAIN when that fails: the change is made, but may not survive a power cut. */
  async #syncChange(folder: Folder, key: string): Promise<void> {
    if (!this.#durable) return;
    try {
      await folder.sync();
    } catch (cause) {
      const why = `the folder could not be written to disk: ${textOfSystemError(cause)}`;
      throw new NetsealError('EUNCERTAIN', `${this.name}: ${why}: ${key}`, { cause });
    }
  }

  /** Opens an object for `action`. EMISSING, EFORMAT. */
  async #withObject<Result>(
    key: string,
    action: (fd: number, header: ObjectHeader, stats: Stats) => Promise<Result>,
  ): Promise<Result> {
    const { folders, file } = DIRECTORY_NAMES.keyToPath(key);
    return this.#folders.use(folders, { create: false, durable: false }, async folder => {
      const fd = await openAsync(`${folder.path}/${file}`, OPEN_TO_READ);
      try {
        // Synchronous: the kernel has just read the inode, so this does not wait for the disk.
        const stats = fstatSync(fd);
        if (!stats.isFile()) throw this.#damagedError(key);
        const bytes = new Uint8Array(OBJECT_HEADER_BYTES);
        const bytesRead = await readAsync(fd, bytes, 0, OBJECT_HEADER_BYTES, 0);
        return await action(fd, this.#checkedHeader(bytes.subarray(0, bytesRead), stats, key), stats);
      } finally {
        closeSync(fd);
      }
    });
  }

  #checkedHeader(bytes: Uint8Array, stats: Stats, key: string): ObjectHeader {
    const header = readHeader(bytes, stats.size);
    if (header === undefined) throw this.#damagedError(key);
    return header;
  }

  #damagedError(key: string): NetsealError {
    return new NetsealError('EFORMAT', `${this.name}: not an object of this store, or not all of it: ${key}`);
  }
}

/** Syncs the store's folder, which may hold new names, and its parent, which holds the folder's own name. */
async function syncNames(rootPath: string): Promise<void> {
  for (const path of [rootPath, `${rootPath}/..`]) {
    const folder = await Folder.open(path);
    await folder.sync().finally(() => folder.close());
  }
}

function allocate(lengthBytes: number): Uint8Array {
  try {
    return new Uint8Array(lengthBytes);
  } catch (cause) {
    throw new NetsealError('EINVAL', `${lengthBytes} bytes are too many for one get: use a range`, { cause });
  }
}

async function readFully(
  fd: number,
  bytes: Uint8Array,
  position: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    signal?.throwIfAborted();
    const lengthBytes = Math.min(READ_BYTES_MAX, bytes.byteLength - done);
    const bytesRead = await readAsync(fd, bytes, done, lengthBytes, position + done);
    // The file was as long as its header says when it was opened, and the store never changes a file.
    if (bytesRead === 0) throw new NetsealError('EFORMAT', 'an object of the store is cut short');
    done += bytesRead;
  }
  signal?.throwIfAborted();
}
