/** The files of a volume that are open through netfs: names in, open files out. */
import { requireInteger, requireObject, requireSignal } from '../base/arguments.ts';
import { codeOf, NetsealError, requireArgument } from '../base/errors.ts';
import { unitSizeToLog2 } from '../base/geometry.ts';
import type { Scheduler } from '../base/scheduler.ts';
import type { CacheVolume } from '../cache/cache-volume.ts';
import type { File } from '../netfs/file.ts';
import { Netfs } from '../netfs/netfs.ts';
import { SharedPages } from '../netfs/pages/shared-pages.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import type { FileInode } from '../server/sealed/inode.ts';
import { parseFlags } from './file-flags.ts';
import type { FilePlace } from './names/file-place.ts';
import type { NamePlace } from './names/live-names.ts';
import type { Found } from './names/path-walk.ts';
import type { SealedServer } from './serving/sealed-server.ts';

const MODE_DEFAULT = 0o644;
const MODE_MAX = 0o7777;

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
  find(path: string | Uint8Array): Promise<Found>;
  place(path: string | Uint8Array): Promise<NamePlace>;
  newFile(mode: number, unitSizeBytes: number | undefined): FileInode;
  insert(place: NamePlace, inode: FileInode): Promise<void>;
  requireWritable(inode: FileInode): void;
}

export class VolumeFiles {
  readonly #parts: VolumeFilesParts;
  #netfs: Netfs | undefined;

  constructor(parts: VolumeFilesParts) {
    this.#parts = parts;
  }

  /** Opens a file; see `Volume.open`. */
  async open(
    path: string | Uint8Array,
    flags: unknown,
    mode: number = MODE_DEFAULT,
    options: OpenPathOptions = {},
  ): Promise<File> {
    const parsed = parseFlags(flags);
    requireInteger('mode', mode, 0, MODE_MAX);
    requireObject('options', options);
    const { unitSizeBytes, signal } = options;
    requireSignal('options.signal', signal);
    if (unitSizeBytes !== undefined) unitSizeToLog2(unitSizeBytes);
    const { isReadable, isWritable, isAppending, isSynchronous, creates, isExclusive, truncates } = parsed;
    let place = creates ? await this.#create(path, mode, unitSizeBytes, isExclusive) : undefined;
    const isNew = place !== undefined;
    place ??= await this.#find(path, isWritable);
    signal?.throwIfAborted();
    const { server, cache } = this.#parts;
    const file = await this.#opened.openFile(server, server.register(place), {
      isReadable,
      isWritable,
      isAppending,
      isSynchronous,
      isReplacing: truncates && !isNew,
      signal,
      stash: (handle, sub) => server.stash(handle, sub),
      cache,
    });
    if (!truncates || isNew) return file;
    try {
      await file.truncate(0, { signal });
      return file;
    } catch (error) {
      await file.close().catch(() => undefined);
      throw error;
    }
  }

  /** Commits all open files. Rejects with what could not be committed. */
  async flush(): Promise<void> {
    await this.#netfs?.flush();
  }

  /** Commits all open files and closes them; see `Netfs.close`. */
  async close(options: { readonly discard?: boolean } = {}): Promise<void> {
    await this.#netfs?.close(options);
  }

  /** Most sessions never open a file this way. */
  get #opened(): Netfs {
    const { pipeline, pageBytes, scheduler, freshMs } = this.#parts;
    const clock = scheduler === undefined ? {} : { scheduler };
    this.#netfs ??= new Netfs({ pipeline, pages: new SharedPages(pageBytes), freshMs, ...clock });
    return this.#netfs;
  }

  async #find(path: string | Uint8Array, isWritable: boolean): Promise<FilePlace> {
    const { inode, parent, entry } = await this.#parts.find(path);
    if (inode.type === 'directory' || parent === undefined || entry === undefined) {
      throw new NetsealError('EISDIR', 'this is a folder: name a file');
    }
    requireArgument(inode.type === 'file', `this is no regular file: ${inode.type}`);
    if (isWritable) this.#parts.requireWritable(inode);
    const object = entry.node.kind === 'object' ? entry.node : undefined;
    return { directory: parent, name: entry.name, id: inode.id, object };
  }

  /** Makes a file where none is. Undefined where one is, unless that is an error. */
  async #create(
    path: string | Uint8Array,
    mode: number,
    unitSizeBytes: number | undefined,
    isExclusive: boolean,
  ): Promise<FilePlace | undefined> {
    if (!isExclusive) {
      const isThere = await this.#parts.find(path).then(
        () => true,
        error => {
          if (codeOf(error) !== 'ENOENT') throw error;
          return false;
        },
      );
      if (isThere) return undefined;
    }
    const { directory, name } = await this.#parts.place(path);
    const inode = this.#parts.newFile(mode, unitSizeBytes);
    try {
      await this.#parts.insert({ directory, name }, inode);
    } catch (error) {
      // Another has made it since.
      if (codeOf(error) === 'EEXIST' && !isExclusive) return undefined;
      throw error;
    }
    return { directory, name, id: inode.id };
  }
}
