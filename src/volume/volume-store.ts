/**
 * A store whose objects are files of an open volume. What is put there is compressed, sealed and cached,
 * behind the ordinary interface of stores.
 *
 *   key      docs/a.txt    a        a/b      a~/.x
 *   file     docs+/a.txt   a        a+/b     a~+/%2ex       below the prefix; see `KeyNames`
 *
 * - A put writes a new file, and gives it the name in one commit of the folder. A file never changes its
 *   content under the store. So a version consists of the file's random id and its data version, and never
 *   repeats.
 * - Conditions are checked within that commit, so they are as atomic as the volume's own swaps.
 * - Reads are as fresh as the volume: another client's change shows within its `freshMs`; its own at once.
 */
import { requireInstance, requireObject, requireOptions, requireText } from '../base/arguments.ts';
import type { CallOptions } from '../base/call-options.ts';
import { codeOf, NetsealError, requireArgument } from '../base/errors.ts';
import { SIZE_BYTES_MAX } from '../base/geometry.ts';
import { systemScheduler } from '../base/scheduler.ts';
import { Gate } from '../server/gate.ts';
import { KeyNames } from '../server/key-names.ts';
import { findKeys, type NamedItem, sortKeys } from '../server/key-walk.ts';
import type { DirectoryEntry, FileInode, Inode } from '../server/sealed/inode.ts';
import {
  checkKey,
  checkPut,
  closedError,
  conflictError,
  coveredBytes,
  type GetOptions,
  type GetResult,
  keyProblem,
  type ListEntry,
  type ListOptions,
  type ListPage,
  missingError,
  type ObjectStat,
  type ObjectStore,
  type PutCondition,
  type PutOptions,
  pageLimit,
  rangeOf,
  type StoreCapabilities,
  type Version,
} from '../server/store.ts';
import type { Directory } from './names/directory.ts';
import { parsePath } from './names/name-checks.ts';
import type { Found } from './names/path-walk.ts';
import { keyOfReference, typeOfEntry } from './names/references.ts';
import { newAttributes } from './new-attributes.ts';
import { Volume } from './volume.ts';

export interface VolumeStoreOptions {
  /**
   * The folder of the volume that holds the objects, as a path. It is made with the first put. Default: the
   * root.
   */
  readonly prefix?: string;
  /** Names the store in messages. Default: `volume`. */
  readonly name?: string;
}

/** Names stay readable in listings of the volume, which tells upper and lower case apart. */
const NAMES: KeyNames = new KeyNames('A-Za-z0-9 _@=,.~:;!()#&-');
const CALLS_AT_ONCE = 64;
const LIST_ENTRIES_MAX = 100_000;
/** How often a put looks for its folder, while deletes keep removing it. */
const ATTEMPTS_MAX = 64;
/** The longest pause after the first attempt, in ms. Each later pause may be this much longer. */
const PAUSE_MS = 5;
const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;

/** A file that holds an object. */
interface FoundObject {
  readonly found: Found;
  readonly inode: FileInode;
}

interface ObjectToPut {
  readonly parts: readonly Uint8Array[];
  readonly condition: PutCondition | undefined;
  readonly signal: AbortSignal | undefined;
}

/** An entry of a folder, and that folder. */
interface FoundItem extends NamedItem {
  readonly entry: DirectoryEntry;
}

/**
 * Returns a store over files of a volume. The volume stays the caller's: closing the store ends the store
 * only.
 *
 * Beside the errors of stores it rejects with what the volume found: EAUTH, EROLLBACK, EFORK and others of
 * docs/ERRORS.md. EFORMAT where a folder or anything else that is no file has the name of an object. A
 * condition does not see a program that edits the object's file in place (`volume.open`) between the check
 * and the commit.
 *
 * @throws EINVAL for a prefix that is no path.
 */
export function volumeStore(volume: Volume, options: VolumeStoreOptions = {}): ObjectStore {
  requireInstance('volume', volume, Volume);
  requireObject('options', options);
  const { prefix = '/', name = 'volume' } = options;
  requireText('options.prefix', prefix);
  requireText('options.name', name);
  const names = prefix.split('/').filter(part => part !== '');
  for (const part of names) {
    requireArgument(
      part !== '.' && part !== '..' && keyProblem(part) === undefined,
      `options.prefix is no folder of a volume: ${JSON.stringify(prefix)}`,
    );
  }
  return new VolumeStore(volume, names, name);
}

class VolumeStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly #volume: Volume;
  readonly #prefix: readonly string[];
  readonly #gate: Gate;
  /** The errors that say that a condition did not hold. The volume's own conflicts mean something else. */
  readonly #conflicts = new WeakSet<WeakKey>();
  #isClosed = false;

  constructor(volume: Volume, prefix: readonly string[], name: string) {
    this.name = name;
    this.#volume = volume;
    this.#prefix = prefix;
    this.#gate = new Gate(name, CALLS_AT_ONCE);
    this.capabilities = {
      createIfAbsent: 'atomic',
      replaceIfMatch: 'atomic',
      atomicPut: true,
      rangedGet: true,
      sharedMemory: true,
      listIsConsistent: volume.session.freshMs === 0,
      listHasVersions: true,
      serverClock: false,
      objectBytesMax: SIZE_BYTES_MAX,
      listEntriesMax: LIST_ENTRIES_MAX,
    };
  }

  async get(key: string, options: GetOptions = {}): Promise<GetResult> {
    checkKey(key);
    const range = rangeOf(options);
    const { into, ifMatch, signal } = options;
    return await this.#run(key, signal, async () => {
      const { found, inode } = await this.#find(key);
      const version = versionOf(inode);
      if (ifMatch !== undefined && ifMatch !== version) throw this.#conflict(key);
      const { sizeBytes } = inode;
      const lengthBytes = coveredBytes(range, sizeBytes);
      const bytes = into?.subarray(0, lengthBytes) ?? new Uint8Array(lengthBytes);
      if (lengthBytes > 0) await this.#volume.reader(inode, found).read(bytes, range.offsetBytes, { signal });
      return { bytes, version, sizeBytes };
    });
  }

  async put(
    key: string,
    parts: readonly Uint8Array[],
    options: PutOptions = {},
  ): Promise<{ version: Version }> {
    checkKey(key);
    checkPut(parts, options);
    const { condition, signal } = options;
    return await this.#run(key, signal, async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await this.#put(key, { parts, condition, signal });
        } catch (error) {
          const code = codeOf(error);
          if (code === 'ENOTDIR') throw this.#takenError(key, error);
          // A delete has removed the empty folder, or another put has made it.
          if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
          if (attempt === ATTEMPTS_MAX) throw this.#raceError(key, error);
          await systemScheduler.sleep(Math.random() * attempt * PAUSE_MS, signal);
        }
      }
    });
  }

  async stat(key: string, options: CallOptions = {}): Promise<ObjectStat> {
    checkKey(key);
    requireOptions('options', options);
    return await this.#run(key, options.signal, async () => {
      const { inode } = await this.#find(key);
      return { version: versionOf(inode), ...timeAndSize(inode) };
    });
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    requireOptions('options', options);
    await this.#run(key, options.signal, async () => {
      const { folders, file } = NAMES.keyToPath(key);
      try {
        const directory = await this.#volume.directory(this.#path(folders));
        await this.#volume.names.unlink(directory, file);
      } catch (error) {
        if (!isNone(error) && codeOf(error) !== 'EISDIR') throw error;
        return;
      }
      await this.#removeEmpty(folders);
    });
  }

  async list(options: ListOptions): Promise<ListPage> {
    const limit = pageLimit(options, LIST_ENTRIES_MAX);
    return await this.#run(options.prefix ?? '', options.signal, async () => {
      const found = await findKeys(NAMES, folders => this.#itemsIn(folders), options);
      const keys = sortKeys([...found.keys()]);
      const page = keys.slice(0, limit);
      const entries: ListEntry[] = [];
      for (const key of page) {
        options.signal?.throwIfAborted();
        const item = found.get(key);
        const inode = item && (await this.#volume.inodes.inodeOf(item.entry));
        if (inode?.type === 'file') entries.push({ key, version: versionOf(inode), ...timeAndSize(inode) });
      }
      return keys.length > limit ? { entries, next: page.at(-1) } : { entries };
    });
  }

  async now(options: CallOptions = {}): Promise<number> {
    requireOptions('options', options);
    return await this.#run('', options.signal, async () => Math.floor(this.#volume.session.nowMs()));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#gate.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run<Result>(
    key: string,
    signal: AbortSignal | undefined,
    work: () => Promise<Result>,
  ): Promise<Result> {
    signal?.throwIfAborted();
    if (this.#isClosed) throw closedError(this.name);
    try {
      return await this.#gate.run(work, signal);
    } catch (error) {
      if (signal?.aborted === true && error === signal.reason) throw error;
      throw this.#storeError(key, error);
    }
  }

  /** Returns what a store throws when the volume has failed with `error`. */
  #storeError(key: string, error: unknown): unknown {
    if (isNone(error)) return missingError(this.name, key);
    const code = codeOf(error);
    if (code === 'EISDIR') return this.#takenError(key, error);
    return code === 'ECONFLICT' && !(error instanceof Error && this.#conflicts.has(error))
      ? this.#raceError(key, error)
      : error;
  }

  #conflict(key: string): NetsealError {
    const error = conflictError(this.name, key);
    this.#conflicts.add(error);
    return error;
  }

  #takenError(key: string, cause: unknown): NetsealError {
    const advice = 'something else has its name in the volume: give the store a prefix of its own';
    return new NetsealError('EFORMAT', `${this.name}: ${key}: ${advice}`, { cause, path: key });
  }

  #raceError(key: string, cause: unknown): NetsealError {
    const message = `${this.name}: ${key}: other clients change it too fast`;
    return new NetsealError('EUNAVAILABLE', message, { cause, path: key });
  }

  #path(names: readonly string[]): string {
    return `/${[...this.#prefix, ...names].join('/')}`;
  }

  async #find(key: string): Promise<FoundObject> {
    const { folders, file } = NAMES.keyToPath(key);
    const found = await this.#volume.find(this.#path([...folders, file]));
    const { inode } = found;
    if (inode.type !== 'file') throw missingError(this.name, key);
    return { found, inode };
  }

  async #put(key: string, { parts, condition, signal }: ObjectToPut): Promise<{ version: Version }> {
    const { folders, file } = NAMES.keyToPath(key);
    const directory = await this.#folderFor(folders);
    const inode = this.#volume.names.newFile(newAttributes(FILE_MODE));
    const check = async (present: DirectoryEntry | undefined): Promise<void> => {
      if (condition !== undefined && !(await this.#holds(condition, present))) {
        throw this.#conflict(key);
      }
    };
    const place = { directory, name: file, id: inode.id };
    const writer = this.#volume.writer(inode, place, { isNew: true, replace: true, check });
    try {
      for (const part of parts) {
        signal?.throwIfAborted();
        await writer.write(part);
      }
      signal?.throwIfAborted();
      return { version: versionOf(await writer.commit()) };
    } finally {
      await writer.abort();
    }
  }

  async #holds(condition: PutCondition, present: DirectoryEntry | undefined): Promise<boolean> {
    if ('ifAbsent' in condition) return present === undefined;
    if (present === undefined || typeOfEntry(present) !== 'file') return false;
    const { node } = present;
    const inode: Inode =
      node.kind === 'embedded' ? node.inode : await this.#volume.inodes.get(keyOfReference(node)).read(0);
    return inode.type === 'file' && versionOf(inode) === condition.ifMatch;
  }

  /**
   * Returns the folder of these names. Missing folders are made in one commit with the first entry in them.
   */
  async #folderFor(folders: readonly string[]): Promise<Directory> {
    const path = this.#path(folders);
    try {
      return await this.#volume.directory(path);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
    }
    const { namespace } = this.#volume;
    let directory = this.#volume.root;
    for (const name of parsePath(path)) {
      const entry = directory.isUnborn ? undefined : await namespace.find(directory, name);
      directory =
        entry === undefined
          ? namespace.newDirectoryAt({ directory, name }, newAttributes(FOLDER_MODE))
          : this.#volume.directoryOf(directory, entry);
    }
    return directory;
  }

  /** Removes folders of keys that are empty now, from the lowest up. */
  async #removeEmpty(folders: readonly string[]): Promise<void> {
    try {
      for (let count = folders.length; count > 0; count -= 1) {
        const directory = await this.#volume.directory(this.#path(folders.slice(0, count)));
        if ((await directory.read()).entryCount > 0) return;
        const above = await this.#volume.directory(this.#path(folders.slice(0, count - 1)));
        await this.#volume.names.rmdir(above, folders[count - 1] ?? '');
      }
    } catch (error) {
      // Another call has put something into the folder, or has removed it first.
      if (!isNone(error) && codeOf(error) !== 'ENOTEMPTY') throw error;
    }
  }

  async #itemsIn(folders: readonly string[]): Promise<FoundItem[]> {
    const items: FoundItem[] = [];
    try {
      const directory = await this.#volume.directory(this.#path(folders));
      for await (const entries of this.#volume.names.entries(directory)) {
        for (const entry of entries) {
          const { name } = entry;
          // Other files and folders in the volume are no objects.
          if (typeOfEntry(entry) === (name.endsWith('+') ? 'directory' : 'file')) items.push({ name, entry });
        }
      }
    } catch (error) {
      if (!isNone(error)) throw error;
    }
    return items;
  }
}

/** Returns a version that no other content of any file has. */
function versionOf({ id, dataVersion }: FileInode): Version {
  return `${id}-${dataVersion}`;
}

function timeAndSize({ sizeBytes, mtimeNs }: FileInode): Pick<ObjectStat, 'sizeBytes' | 'modifiedAtMs'> {
  return { sizeBytes, modifiedAtMs: Number(mtimeNs / 1_000_000n) };
}

/** True when a path leads to nothing. */
function isNone(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}
