/** The files of a volume that are open through netfs: names in, open files out. */
import { requireInteger, requireObject, requireSignal } from '../base/arguments.ts';
import { toHex } from '../base/bytes.ts';
import { codeOf, isNetsealError, messageOf, NetsealError, requireArgument } from '../base/errors.ts';
import { unitSizeToLog2 } from '../base/geometry.ts';
import { type Id, idBytes } from '../base/ids.ts';
import type { Scheduler } from '../base/scheduler.ts';
import type { CacheVolume } from '../cache/cache-volume.ts';
import type { FileStatus } from '../netfs/file.ts';
import type { Netfs } from '../netfs/netfs.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { type DirectoryEntry, type FileInode, MODE_MAX } from '../server/sealed/inode.ts';
import { type FileFlags, parseFlags } from './file-flags.ts';
import { OpenInode } from './fs/open-inode.ts';
import { type SaveAsOptions, VolumeFile } from './fs/volume-file.ts';
import type { FilePlace, PlaceParts } from './names/file-place.ts';
import type { NamePlace } from './names/live-names.ts';
import { checkName } from './names/name-checks.ts';
import type { Found } from './names/path-walk.ts';
import type { SealedServer } from './serving/sealed-server.ts';
import { ServedFile } from './serving/served-file.ts';

const MODE_DEFAULT = 0o644;

/** How `open` opens a file. */
export interface OpenPathOptions {
  /** The unit size of a file that is made. Default: the volume's. Small units suit small writes at random. */
  readonly unitSizeBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What opening files needs of a volume. */
export interface VolumeFilesParts {
  readonly server: SealedServer;
  readonly pipeline: Pipeline;
  readonly pageBytes: number;
  readonly scheduler: Scheduler | undefined;
  readonly freshMs: number;
  /** Where sealed units are kept on this machine. */
  readonly cache: CacheVolume | undefined;
  readonly inodes: PlaceParts;
  find(path: string | Uint8Array): Promise<Found>;
  /** @param follow whether a symlink of that name is followed, also one that leads nowhere. */
  place(path: string | Uint8Array, follow: boolean): Promise<NamePlace>;
  newFile(mode: number, unitSizeBytes: number | undefined): FileInode;
  /**
   * Returns the entry of a name as the store has it now. EUNSUPPORTED where the folder may not be changed.
   */
  findNow(place: NamePlace): Promise<DirectoryEntry | undefined>;
  insert(place: NamePlace, inode: FileInode): Promise<void>;
  requireWritable(inode: FileInode): void;
}

/** A file and where it was found. */
interface FoundFile {
  readonly place: FilePlace;
  readonly inode: FileInode;
}

/** A file that is open, or has changes. */
export interface KnownFile {
  readonly id: Id;
  /** Undefined when this session does not know its name. */
  readonly path: string | undefined;
  readonly status: FileStatus;
}

export class VolumeFiles {
  readonly #parts: VolumeFilesParts;
  #netfs: Netfs | undefined;
  #isClosed = false;

  constructor(parts: VolumeFilesParts) {
    this.#parts = parts;
  }

  /** Opens a file; see `Volume.open`. */
  async open(
    path: string | Uint8Array,
    flags: unknown,
    mode: number = MODE_DEFAULT,
    options: OpenPathOptions = {},
  ): Promise<VolumeFile> {
    const parsed = parseFlags(flags);
    requireInteger('mode', mode, 0, MODE_MAX);
    requireObject('options', options);
    const { unitSizeBytes, signal } = options;
    requireSignal('options.signal', signal);
    if (unitSizeBytes !== undefined) unitSizeToLog2(unitSizeBytes);
    const netfs = await this.#begin();
    let lost: Id | undefined;
    for (;;) {
      const { creates, isExclusive, isWritable } = parsed;
      const made = creates ? await this.#create(path, mode, unitSizeBytes, isExclusive) : undefined;
      const found = made ?? (await this.#find(path, isWritable));
      try {
        return await this.#openFound(netfs, found, { ...parsed, isNew: made !== undefined }, signal);
      } catch (error) {
        // The name may belong to another file by now.
        if (codeOf(error) !== 'EMISSING' || found.inode.id === lost) throw error;
        lost = found.inode.id;
      }
    }
  }

  async #openFound(
    netfs: Netfs,
    { place, inode }: FoundFile,
    { isNew, truncates, isReadable, isWritable, isAppending, isSynchronous }: FileFlags & { isNew: boolean },
    signal: AbortSignal | undefined,
  ): Promise<VolumeFile> {
    const { server, cache } = this.#parts;
    const key = server.register(place);
    const opening = netfs.openFile(server, key, {
      isReadable,
      isWritable,
      isAppending,
      isSynchronous,
      isReplacing: truncates && !isNew,
      signal,
      stash: (handle, sub) => server.stash(handle, sub),
      cache,
    });
    const { openPlaces, unbornNames } = this.#parts.inodes.inodes;
    // If the opening failed, nobody has the file open, and nobody would commit it: forget its name.
    if (!openPlaces.has(inode.id)) unbornNames.remove(inode.id);
    const file = await opening;
    const opened = new VolumeFile(file, {
      inode: new OpenInode(this.#parts.inodes, place, inode),
      isReadable,
      isWritable,
      saveAs: (target, how) => this.#saveAs(key, target, how),
    });
    if (!truncates || isNew) return opened;
    try {
      await file.truncate(0, { signal });
      return opened;
    } catch (error) {
      await opened.leave();
      throw error;
    }
  }

  /** What is known of a file; undefined for one that is not open, and has no changes. */
  statusOf(id: Id): FileStatus | undefined {
    return this.#netfs?.status(this.#parts.server, idBytes(id));
  }

  /** The files that are open or have changes. */
  *known(): Generator<KnownFile, void, undefined> {
    for (const { key, status } of this.#netfs?.files() ?? []) {
      const id = toHex(key);
      yield { id, path: this.#parts.inodes.inodes.pathOfOpen(id), status };
    }
  }

  /** Commits one file, if it is open or has changes. */
  async commit(id: Id, signal?: AbortSignal): Promise<void> {
    await this.#netfs?.commit(this.#parts.server, idBytes(id), signal);
  }

  /** Commits all open files. Rejects with what could not be committed. */
  async flush(signal?: AbortSignal): Promise<void> {
    await this.#netfs?.flush(signal === undefined ? {} : { signal });
  }

  /**
   * Commits all open files and closes them; see `Netfs.close`. Rejects with the paths of those that failed.
   */
  async close(options: { readonly discard?: boolean } = {}): Promise<void> {
    this.#isClosed = true;
    try {
      await this.#netfs?.close(options);
    } catch (error) {
      this.#isClosed = false;
      throw this.#withPaths(error);
    }
  }

  /** Undefined as long as no file was opened. */
  get netfs(): Netfs | undefined {
    return this.#netfs;
  }

  /** Loads netfs, and begins with it: most sessions never open a file this way. ECLOSED after `close`. */
  async #begin(): Promise<Netfs> {
    const { pipeline, pageBytes, scheduler, freshMs } = this.#parts;
    const { Netfs, SharedPages } = await import('./open-netfs.ts');
    if (this.#isClosed) throw new NetsealError('ECLOSED', 'the volume is closed');
    const clock = scheduler === undefined ? {} : { scheduler };
    this.#netfs ??= new Netfs({ pipeline, pages: new SharedPages(pageBytes), freshMs, ...clock });
    return this.#netfs;
  }

  async #saveAs(key: Uint8Array, path: string | Uint8Array, options: SaveAsOptions): Promise<void> {
    const { server } = this.#parts;
    const { directory, name } = await this.#parts.place(path, false);
    const netfs = await this.#begin();
    await netfs.saveAs(server, key, async (handle, sub) => {
      if (!(handle instanceof ServedFile)) throw new NetsealError('EBUG', 'a file of another server');
      await server.saveAs(handle, sub, { directory, name }, options);
    });
  }

  /** Returns an error that names what could not be committed. */
  #withPaths(error: unknown): unknown {
    const failing = Array.from(this.known()).filter(({ status }) => !status.isCommitted);
    const [first] = failing;
    if (first === undefined) return error;
    const cause = error instanceof AggregateError ? error.errors[0] : error;
    const code = isNetsealError(cause) ? cause.code : 'EIO';
    const paths = failing.map(({ path, id }) => path ?? `inode ${id}`).join(', ');
    return new NetsealError(code, `not committed: ${paths}: ${messageOf(cause)}`, {
      cause: error,
      path: first.path,
    });
  }

  async #find(path: string | Uint8Array, isWritable: boolean): Promise<FoundFile> {
    const { inode, parent, entry } = await this.#parts.find(path);
    if (inode.type === 'directory' || parent === undefined || entry === undefined) {
      throw new NetsealError('EISDIR', 'this is a folder: name a file');
    }
    requireArgument(inode.type === 'file', `this is no regular file: ${inode.type}`);
    if (isWritable) this.#parts.requireWritable(inode);
    const object = entry.node.kind === 'object' ? entry.node : undefined;
    return { inode, place: { directory: parent, name: entry.name, id: inode.id, object } };
  }

  /** Makes a file if the name is free. Returns undefined when a file has it, unless that is an error. */
  async #create(
    path: string | Uint8Array,
    mode: number,
    unitSizeBytes: number | undefined,
    isExclusive: boolean,
  ): Promise<FoundFile | undefined> {
    if (!isExclusive && (await this.#isThere(path))) return undefined;
    const { directory, name } = await this.#parts.place(path, !isExclusive);
    checkName(name);
    const inode = this.#parts.newFile(mode, unitSizeBytes);
    const isMade = isExclusive
      ? await this.#insert({ directory, name }, inode)
      : await this.#begetUnborn({ directory, name }, inode);
    return isMade ? { inode, place: { directory, name, id: inode.id } } : undefined;
  }

  async #isThere(path: string | Uint8Array): Promise<boolean> {
    try {
      await this.#parts.find(path);
      return true;
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      return false;
    }
  }

  /** Puts a new file into the store at once, so that no other client can make one of this name (flag `x`). */
  async #insert(place: NamePlace, inode: FileInode): Promise<true> {
    if (this.#parts.inodes.inodes.unbornNames.find(place) !== undefined) {
      throw new NetsealError('EEXIST', 'a file has this name');
    }
    try {
      await this.#parts.insert(place, inode);
      return true;
    } catch (error) {
      if (codeOf(error) !== 'EISDIR') throw error;
      // As in Node, a folder of this name is as much in the way as a file.
      throw new NetsealError('EEXIST', 'a folder has this name', { cause: error });
    }
  }

  /**
   * Reserves a name in this session for a new file; its first commit puts both into the store. Returns false,
   * and reserves nothing, when the name is taken by now.
   */
  async #begetUnborn(place: NamePlace, inode: FileInode): Promise<boolean> {
    const { server, inodes } = this.#parts;
    const { unbornNames } = inodes.inodes;
    do {
      await unbornNames.changed(place);
      // The earlier look-up may be old. Ask the store, to see a file that another client has made since.
      if ((await this.#parts.findNow(place)) !== undefined) return false;
    } while (!unbornNames.isFree(place));
    const commit = (): Promise<void> => this.commit(inode.id);
    unbornNames.add({ ...place, inode, isBeingBorn: false, commit });
    server.registerNew(inode, place, { givesWay: true });
    return true;
  }
}
