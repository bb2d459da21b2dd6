/**
 * Copies small files into a volume. Many share one batch of plain memory, which is sealed and placed
 * together: files that arrive together share packs, also those of different folders. Their names follow, many
 * to a commit, once the segment with their units is in the store.
 *
 * Names wait until their segment is full; `PutBatches.flush` ends that wait.
 */
import type { NetsealError } from '../base/errors.ts';
import { KIB, MIB } from '../base/geometry.ts';
import type { Name } from '../base/name.ts';
import type { FileInode, LinkableInode } from '../server/sealed/inode.ts';
import { withSmallContent } from '../volume/content/small-files.ts';
import { type PlacedUnits, type SmallContent, SmallUpload } from '../volume/content/small-upload.ts';
import type { NewName } from '../volume/names/namespace.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalFile } from './local-source.ts';
import type { PutFolder } from './put-folder.ts';
import { isFatal, onVolume, StoreFailure, type Tally } from './tally.ts';

/** The plain memory of one batch. */
const BATCH_BYTES: number = MIB;
/**
 * How many batches are sealed at once. More would cost time: touching new memory takes as long as sealing
 * into it.
 */
const SEALING_MAX = 4;
/** How many commits of attributes run at once. */
const UPDATES_MAX = 1024;
/** A buffer for what a small file holds beyond the size that the file system tells. */
const MORE: Uint8Array = new Uint8Array(64 * KIB);
/** The most names in one batch, with or without content. It limits batches of empty files. */
const BATCH_NAMES = 2048;

interface Item {
  readonly folder: PutFolder;
  readonly name: Name;
  readonly path: Name;
  readonly inode: LinkableInode;
  /** Where the file's content is in the batch; undefined for an empty file, and for one of zeros. */
  readonly content: SmallContent | undefined;
}

export class PutBatches {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #running = new Set<Promise<void>>();
  readonly #sealing = new Set<Promise<void>>();
  readonly #signal: AbortSignal | undefined;
  readonly #updating = new Set<Promise<void>>();
  readonly #atEnd: (() => Promise<void>)[] = [];
  #upload: SmallUpload | undefined;
  #items: Item[] = [];
  #folders: PutFolder[] = [];
  #failure: { readonly error: unknown } | undefined;

  constructor(volume: Volume, tally: Tally, signal: AbortSignal | undefined) {
    this.#volume = volume;
    this.#tally = tally;
    this.#signal = signal;
  }

  /** Adds an inode that has no content to read: a symlink, a FIFO, a file without data. */
  addBare(folder: PutFolder, name: Name, path: Name, inode: LinkableInode): void {
    this.throwIfFailed();
    this.#items.push({ folder, name, path, inode, content: undefined });
    if (this.#items.length >= BATCH_NAMES) this.#submit();
  }

  /**
   * Reads and adds a file that fits in one unit and in a batch. `inode` is what the file gets, without its
   * content. Returns false, and adds nothing, if the file holds more than its size tells and more than fits.
   */
  async addFile(
    folder: PutFolder,
    name: Name,
    path: Name,
    file: LocalFile,
    inode: FileInode,
  ): Promise<boolean> {
    this.throwIfFailed();
    const { sizeBytes } = file.stat;
    // The file may hold more than its size tells, as those of /proc do. This shows it.
    const moreBytes = file.readSync(MORE, sizeBytes);
    const roomBytes = sizeBytes + moreBytes;
    const roomMax = Math.min(inode.unitSizeBytes, BATCH_BYTES);
    if (moreBytes === MORE.byteLength || roomBytes > roomMax) return false;
    const more = MORE.slice(0, moreBytes);
    const freeBytes = this.#upload?.freeBytes ?? BATCH_BYTES;
    if (roomBytes > freeBytes || this.#items.length >= BATCH_NAMES) this.#submit();
    while (this.#upload === undefined && this.#sealing.size >= SEALING_MAX) await Promise.race(this.#sealing);
    this.#upload ??= await this.#volume.reserveSmall(BATCH_BYTES, this.#signal);
    const into = this.#upload.next(roomBytes);
    const readBytes = file.readSync(into.subarray(0, sizeBytes), 0);
    const isWhole = readBytes === sizeBytes;
    if (isWhole) into.set(more, sizeBytes);
    const totalBytes = readBytes + (isWhole ? moreBytes : 0);
    const read = { ...inode, sizeBytes: totalBytes };
    const content = totalBytes === 0 ? undefined : this.#upload.add(inode, into, totalBytes);
    this.#items.push({ folder, name, path, inode: read, content });
    return true;
  }

  /**
   * Runs a commit that changes an existing name, beside others. Its error is counted as a failure of `path`.
   * Waits while there are many.
   */
  async update(path: Name, commit: () => Promise<unknown>): Promise<void> {
    this.throwIfFailed();
    while (this.#updating.size >= UPDATES_MAX) await Promise.race(this.#updating);
    const ended = this.track(this.#attempt([path], commit));
    this.#updating.add(ended);
    void ended.then(() => this.#updating.delete(ended));
  }

  /** Has {@link flush} wait for other work that needs segments. An error of that work ends the whole copy. */
  track(work: Promise<void>): Promise<void> {
    const running = work.catch(error => {
      this.#failure ??= { error };
    });
    this.#running.add(running);
    void running.then(() => this.#running.delete(running));
    return running;
  }

  /** Links a new folder, with or without names in it, once everything that was added before is committed. */
  addFolder(folder: PutFolder): void {
    this.#folders.push(folder);
    if (this.#items.length + this.#folders.length >= BATCH_NAMES) this.#submit();
  }

  /** Runs work at the end, because a commit would undo it. Its error is counted as a failure of `path`. */
  atEnd(path: Name, work: () => Promise<unknown>): void {
    this.#atEnd.push(() => this.#attempt([path], work));
  }

  /** Waits until everything that was added is committed or has failed. */
  async flush(): Promise<void> {
    this.#submit();
    // Names begin to wait for their segments a few turns after their units were placed. The next flush must
    // come after that.
    for (;;) {
      const running = [...this.#running];
      if (running.length === 0) break;
      await onVolume(this.#volume.flushContent());
      await Promise.race(running);
    }
    this.throwIfFailed();
  }

  /** Runs the work that was left for the end. Call it after the last {@link flush}. */
  async end(): Promise<void> {
    await Promise.all(this.#atEnd.splice(0).map(work => work()));
  }

  /**
   * Ends early, after an interruption or a failure. Gives back memory that is not in use, and waits for what
   * is running. What was sealed is committed if possible, and nothing is left waiting for a segment that is
   * never closed.
   */
  async drop(): Promise<void> {
    this.#upload?.drop();
    this.#upload = undefined;
    this.#items = [];
    this.#folders = [];
    while (this.#running.size > 0) {
      // The error reaches every file that needs one of these segments.
      await this.#volume.flushContent().catch(() => undefined);
      if (this.#running.size > 0) await Promise.race(this.#running);
    }
  }

  #submit(): void {
    const upload = this.#upload;
    const items = this.#items;
    const folders = this.#folders;
    this.#upload = undefined;
    this.#items = [];
    this.#folders = [];
    if (items.length === 0 && folders.length === 0) {
      upload?.drop();
      return;
    }
    const hasUnits = upload?.isEmpty === false;
    if (!hasUnits) upload?.drop();
    void this.track(this.#commit(hasUnits ? upload : undefined, items, folders));
  }

  async #commit(
    upload: SmallUpload | undefined,
    items: readonly Item[],
    folders: readonly PutFolder[],
  ): Promise<void> {
    const placed = upload === undefined ? [] : await onVolume(this.#seal(upload));
    const segments = new Set(placed.flatMap(pointer => (pointer === undefined ? [] : [pointer.segment])));
    await onVolume(this.#volume.whenDurable(segments));
    const byFolder = new Map<PutFolder, Item[]>();
    for (const item of items) {
      const known = byFolder.get(item.folder);
      if (known === undefined) byFolder.set(item.folder, [item]);
      else known.push(item);
    }
    await Promise.all([...byFolder].map(([folder, group]) => this.#commitGroup(folder, group, placed)));
    await Promise.all(folders.map(folder => this.#attempt([folder.path], () => folder.link())));
  }

  /**
   * Runs a commit that no other depends on. Its error is counted as a failure of these paths, unless it ends
   * the copy.
   */
  async #attempt(paths: readonly Name[], commit: () => Promise<unknown>): Promise<void> {
    try {
      await onVolume(commit());
    } catch (error) {
      if (isFatal(error)) throw error;
      for (const path of paths) this.#tally.fail(path, error);
    }
  }

  async #seal(upload: SmallUpload): Promise<PlacedUnits> {
    const sealing = upload.submit();
    const ended = sealing.then(
      () => undefined,
      () => undefined,
    );
    this.#sealing.add(ended);
    try {
      return await sealing;
    } finally {
      this.#sealing.delete(ended);
    }
  }

  async #commitGroup(folder: PutFolder, group: readonly Item[], placed: PlacedUnits): Promise<void> {
    const names = group.map(item => newName(item, placed));
    await this.#attempt(
      group.map(({ path }) => path),
      async () => this.#count(group, await folder.insertMany(names)),
    );
  }

  #count(group: readonly Item[], failures: readonly (NetsealError | undefined)[]): void {
    for (const [at, { path, inode }] of group.entries()) {
      const failure = failures[at];
      if (failure !== undefined) this.#tally.fail(path, failure);
      else if (inode.type === 'symlink') this.#tally.counts.symlinks += 1;
      else if (inode.type === 'file') {
        this.#tally.counts.files += 1;
        this.#tally.counts.bytes += inode.sizeBytes;
      } else this.#tally.counts.specials += 1;
    }
  }

  /** Throws the background error that ends the whole copy, if there was one. */
  throwIfFailed(): void {
    // The caller is dealing with another file. A StoreFailure is not counted as that file's failure.
    if (this.#failure !== undefined) throw new StoreFailure(this.#failure.error);
  }
}

function newName({ name, inode, content }: Item, placed: PlacedUnits): NewName {
  const pointer = SmallUpload.find(placed, content);
  if (inode.type !== 'file' || pointer === undefined) return { name, inode, segments: [] };
  return { name, inode: withSmallContent(inode, pointer), segments: [pointer.segment] };
}
