/**
 * Objects as files below one folder, which any number of processes may use at once. `docs/STORES.md` describes what is on
 * the disk.
 *
 * Invariants
 *   1. A name below `objects/` is only ever given to a whole file: by link() when there is none, by rename() otherwise.
 *      So readers see the old or the new object, and a crash at any point leaves one of them.
 *   2. Whatever replaces or removes an object does so under the store's lock. link() needs none, as it never replaces.
 *      So nothing changes between a compare and its swap.
 *   3. A change is acknowledged after the file (1), the name (2) and the names of its folders are on the disk.
 *   4. No path that depends on a key, or on what is in the store, follows a symbolic link.
 */
import {
  closeSync,
  constants,
  fstatSync,
  link,
  lstat,
  lstatSync,
  open,
  openSync,
  read,
  readdir,
  readSync,
  realpath,
  renameSync,
  type Stats,
} from 'node:fs';
import { promisify } from 'node:util';
import type { CallOptions } from '../base/call-options.ts';
import { type ErrorCode, messageOf, NetsealError, requireArgument, systemCodeOf } from '../base/errors.ts';
import { type Scheduler, systemScheduler } from '../base/scheduler.ts';
import { Folder, FolderCache, makeFolder } from './directory-folders.ts';
import { newHeader, OBJECT_HEADER_BYTES, type ObjectHeader, readHeader } from './directory-format.ts';
import { keyToPath, type ObjectPath, pathToKey, segmentsToFolders } from './directory-names.ts';
import { DirectorySession } from './directory-session.ts';
import { Gate } from './gate.ts';
import {
  checkKey,
  compareKeys,
  conflictError,
  coveredBytes,
  type GetOptions,
  type GetResult,
  keyProblem,
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
import { storeError } from './system-errors.ts';

const openAsync = promisify(open);
const linkAsync = promisify(link);
const lstatAsync = promisify(lstat);
const readAsync = promisify(read);
const readdirAsync = promisify(readdir);
const realpathAsync = promisify(realpath);

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Nothing but a regular file may be there; a pipe must not make us wait until we know. */
const OPEN_TO_READ = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

/** Each needs a descriptor or two. */
const REQUESTS_MAX = 64;
const STATS_AT_ONCE = 32;
/** One system call takes at most so much, so that an abort is heard in between. */
const READ_BYTES_MAX = 16 * 1024 * 1024;

export interface DirectoryStoreSettings {
  /** Make the folder if it is missing. Its parent must be there. Default: false. */
  readonly create?: boolean;
  /**
   * `fsync`: what was acknowledged survives a power cut. `none`: it survives the death of the process; after a power cut
   * objects may be missing, or damaged, which `get` then says. Default: `fsync`.
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
  readonly #rootPath: string;
  readonly #objects: Folder;
  readonly #folders: FolderCache;
  readonly #durable: boolean;
  readonly #scheduler: Scheduler;
  readonly #gate: Gate;
  /** Started by the first change: who only reads needs no permission to write. */
  #session: Promise<DirectorySession> | undefined;
  #leftovers: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Opens the store in folder `path`, which may be reached through symbolic links. EMISSING when there is none and it is
   * not to be created, EDENIED, EIO.
   */
  static async open(
    path: string,
    settings: DirectoryStoreSettings = {},
    scheduler: Scheduler = systemScheduler,
  ): Promise<DirectoryStore> {
    requireArgument(path !== '', 'a directory store needs a folder');
    try {
      if (settings.create === true) await makeFolder(path);
      const rootPath = await realpathAsync(path);
      const objectsPath = `${rootPath}/objects`;
      if (settings.create === true) await makeFolder(objectsPath);
      const objects = await Folder.open(objectsPath);
      const durable = settings.durability !== 'none';
      if (settings.create === true && durable) await syncNames(rootPath);
      return new DirectoryStore(path, rootPath, objects, durable, scheduler);
    } catch (error) {
      throw storeError(path, 'objects', error);
    }
  }

  private constructor(
    name: string,
    rootPath: string,
    objects: Folder,
    durable: boolean,
    scheduler: Scheduler,
  ) {
    this.name = name;
    this.#rootPath = rootPath;
    this.#objects = objects;
    this.#folders = new FolderCache(objects);
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
    const { signal, condition } = options;
    return this.#run(key, signal, async () => {
      const session = await this.#writer();
      const { bytes: header, version } = newHeader(totalBytes(parts));
      const partial = await session.write([header, ...parts], this.#durable, signal);
      try {
        const { folders, file } = keyToPath(key);
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
        // It has two names after link(), none after rename().
        await session.discard(partial);
      }
      return { version };
    });
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectStat> {
    checkKey(key);
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
    const { signal } = options;
    await this.#run(key, signal, async () => {
      const session = await this.#writer();
      const { folders, file } = keyToPath(key);
      // Large files take time to remove: they leave under the lock, and go after it.
      const outgoing = session.newPartialPath();
      try {
        await this.#folders.use(folders, { create: false, durable: false }, async folder => {
          const target = `${folder.path}/${file}`;
          const isGone = await session.locked(() => this.#moveOut(target, outgoing, key), signal);
          // Also when there was nothing: who removed it may not have come to this yet.
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
      const found = await this.#findKeys(options);
      const keys = sortKeys([...found.keys()]);
      const page = keys.slice(0, limit);
      const entries: ListEntry[] = [];
      for (let at = 0; at < page.length; at += STATS_AT_ONCE) {
        signal?.throwIfAborted();
        const some = page.slice(at, at + STATS_AT_ONCE);
        const stats = await Promise.all(some.map(key => this.#entryOf(key, found.get(key) ?? [])));
        entries.push(...stats.filter(entry => entry !== undefined));
      }
      return keys.length > limit ? { entries, next: page.at(-1) } : { entries };
    });
  }

  async now(options: CallOptions = {}): Promise<number> {
    return this.#run('', options.signal, async () => (await this.#writer()).now());
  }

  /** Removes what crashed processes left behind; the first change does so by itself. For tests and for the impatient. */
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

  /** Every operation goes through here: bounded descriptors, and errors as a store's. */
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
      const session = DirectorySession.start(this.#rootPath, this.#scheduler);
      this.#session = session;
      this.#leftovers = session.then(started => started.removeLeftovers()).catch(() => undefined);
      // The next change tries again.
      session.catch(() => {
        this.#session = undefined;
      });
    }
    return this.#session;
  }

  /** False when there is something already. */
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

  /** Under the lock: replaces the object if it has this version. */
  #swap(partial: string, target: string, key: string, expected: Version): void {
    if (this.#versionAt(target, key) !== expected) throw conflictError(this.name, key);
    renameSync(partial, target);
  }

  /** Under the lock: takes an object away; false when there is none. */
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

  /** After a change: what fails here leaves it done, but perhaps not for good. */
  async #syncChange(folder: Folder, key: string): Promise<void> {
    if (!this.#durable) return;
    try {
      await folder.sync();
    } catch (cause) {
      const why = `the folder could not be written to disk: ${messageOf(cause)}`;
      throw new NetsealError('EUNCERTAIN', `${this.name}: ${why}: ${key}`, { cause });
    }
  }

  /** Opens an object for `action`. EMISSING, EFORMAT. */
  async #withObject<Result>(
    key: string,
    action: (fd: number, header: ObjectHeader, stats: Stats) => Promise<Result>,
  ): Promise<Result> {
    const { folders, file } = keyToPath(key);
    return this.#folders.use(folders, { create: false, durable: false }, async folder => {
      const fd = await openAsync(`${folder.path}/${file}`, OPEN_TO_READ);
      try {
        // No trip to a thread: the inode has just been read.
        const stats = fstatSync(fd);
        if (!stats.isFile()) throw this.#damagedError(key);
        const bytes = new Uint8Array(OBJECT_HEADER_BYTES);
        const { bytesRead } = await readAsync(fd, bytes, 0, OBJECT_HEADER_BYTES, 0);
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

  /** The keys that a list asks for, each with its folders. */
  async #findKeys({ prefix = '', after, signal }: ListOptions): Promise<Map<string, readonly string[]>> {
    const found = new Map<string, readonly string[]>();
    // Only valid segments have folders.
    const segments = prefix.split('/').slice(0, -1);
    if (segments.length > 0 && keyProblem(segments.join('/')) !== undefined) return found;
    const pending: (readonly string[])[] = [segmentsToFolders(segments)];
    for (let folders = pending.pop(); folders !== undefined; folders = pending.pop()) {
      signal?.throwIfAborted();
      for (const name of await this.#namesIn(folders)) {
        if (name.endsWith('+')) {
          const below = [...folders, name];
          if (mayHold(below, prefix, after)) pending.push(below);
          continue;
        }
        const key = pathToKey({ folders, file: name });
        if (key === undefined || keyProblem(key) !== undefined || !key.startsWith(prefix)) continue;
        if (after === undefined || compareKeys(key, after) > 0) found.set(key, folders);
      }
    }
    return found;
  }

  async #namesIn(folders: readonly string[]): Promise<string[]> {
    try {
      return await this.#folders.use(folders, { create: false, durable: false }, folder =>
        readdirAsync(folder.path),
      );
    } catch (error) {
      // Gone meanwhile, or not a folder of ours.
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCodeOf(error) ?? '')) return [];
      throw error;
    }
  }

  /** Undefined when it is no object, or no longer there. */
  async #entryOf(key: string, folders: readonly string[]): Promise<ListEntry | undefined> {
    try {
      const { file }: ObjectPath = keyToPath(key);
      const stats = await this.#folders.use(folders, { create: false, durable: false }, folder =>
        lstatAsync(`${folder.path}/${file}`),
      );
      const sizeBytes = stats.size - OBJECT_HEADER_BYTES;
      if (!stats.isFile() || sizeBytes < 0) return undefined;
      return { key, sizeBytes, modifiedAtMs: Math.floor(stats.mtimeMs) };
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }
}

/** Syncs the new names in the store's folder, and its own in its parent. */
async function syncNames(rootPath: string): Promise<void> {
  for (const path of [rootPath, `${rootPath}/..`]) {
    const folder = await Folder.open(path);
    await folder.sync().finally(() => folder.close());
  }
}

/** Whether keys in this folder can begin with `prefix` and lie above `after`. */
function mayHold(folders: readonly string[], prefix: string, after: string | undefined): boolean {
  if (folders.at(-1)?.endsWith('++') === true) return true;
  const first = pathToKey({ folders, file: '0' })?.slice(0, -1);
  if (first === undefined) return false;
  if (!first.startsWith(prefix) && !prefix.startsWith(first)) return false;
  return after === undefined || after.startsWith(first) || compareKeys(first, after) > 0;
}

function sortKeys(keys: string[]): string[] {
  // The built-in order is many times faster, and the same up to U+D7FF.
  return keys.some(key => /[\ud800-\uffff]/.test(key)) ? keys.sort(compareKeys) : keys.sort();
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
    const { bytesRead } = await readAsync(fd, bytes, done, lengthBytes, position + done);
    // Objects never change: somebody else has cut the file.
    if (bytesRead === 0) throw new NetsealError('EFORMAT', 'an object of the store is cut short');
    done += bytesRead;
  }
  signal?.throwIfAborted();
}
