/**
 * `put`: copies local files and trees into a volume. A file that is there already and unchanged (type, size,
 * modification time) is skipped, so a second `put` goes on where an interruption ended. Failures of single
 * files are noted, and the rest goes on.
 *
 *   walk ──▶ small files: batches (put-batch.ts) ──▶ names in groups, as their segments arrive
 *        ├─▶ large files, one after another (put-file.ts) ──▶ names
 *        ├─▶ files with several names (put-links.ts) ──▶ at the end
 *        └─▶ folders: stored with their first names (put-folder.ts), or at their end
 */
import { NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { giveTurn } from '../base/turns.ts';
import type { Attributes, DirectoryEntry, FileInode, Inode } from '../server/sealed/inode.ts';
import { checkName } from '../volume/names/name-checks.ts';
import type { ClientState } from '../volume/state/client-state.ts';
import { PutJournal } from '../volume/state/put-journal.ts';
import type { Volume } from '../volume/volume.ts';
import { type CopyOptions, copyPart, runCopy } from './copying.ts';
import { joinPath } from './local-names.ts';
import {
  attributesOf,
  type LocalEntry,
  type LocalFile,
  LocalFolder,
  openLocalFile,
  readLocalLink,
} from './local-source.ts';
import { OwnStorage } from './own-storage.ts';
import { PutBatches } from './put-batch.ts';
import { JOURNAL_BYTES_MIN, type PutContent, putContent } from './put-file.ts';
import { EntryCursor, PutFolder } from './put-folder.ts';
import { PutLinks } from './put-links.ts';
import { type PutJob, planPut } from './put-plan.ts';
import { onVolume, type Tally } from './tally.ts';

export interface PutOptions extends CopyOptions {
  /** Where journals of large files are kept. Without it an interrupted upload starts over. */
  readonly state?: ClientState | undefined;
}

/**
 * Copies local paths to a path of the volume.
 *
 * - A target that ends in `/`, or that has several sources, is an existing folder. Each source goes into it
 *   under its own name.
 * - If the target is an existing folder, a file goes into it under its own name, and the content of a folder
 *   goes directly into it.
 * - Otherwise the target is the name that the source gets.
 *
 * Fills `tally`. Before anything is copied it rejects with ENOENT, ENOTDIR or EINVAL. Later it
 * rejects with what ends the whole copy: the signal's reason, or the store's error. What was copied by then
 * stays.
 */
export async function put(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  tally: Tally,
  options: PutOptions = {},
): Promise<void> {
  const own = new OwnStorage(volume.ownFolders);
  const jobs = await planPut(volume, sources, target, own, options);
  await runCopy(() => new Putter(volume, tally, own, options).run(jobs));
}

/** After looking at so many names of a folder, other work gets a turn. */
const NAMES_PER_TURN = 64;

class Putter {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #options: PutOptions;
  readonly #batches: PutBatches;
  readonly #links: PutLinks;
  readonly #signal: AbortSignal | undefined;
  readonly #own: OwnStorage;

  constructor(volume: Volume, tally: Tally, own: OwnStorage, options: PutOptions) {
    this.#volume = volume;
    this.#tally = tally;
    this.#options = options;
    this.#signal = options.signal;
    this.#own = own;
    this.#batches = new PutBatches(volume, tally, options.signal);
    this.#links = new PutLinks(volume, tally);
  }

  async run(jobs: readonly PutJob[]): Promise<void> {
    try {
      for (const job of jobs) await this.#putTop(job);
      await this.#batches.flush();
      await this.#links.finish(this.#signal);
      await this.#batches.end();
    } catch (error) {
      await this.#batches.drop();
      await this.#links.drop();
      throw error;
    }
  }

  async #putTop({ path, stat, directory, name, existing }: PutJob): Promise<void> {
    const bytes = Buffer.from(path, 'latin1');
    const openFolder = (): LocalFolder => LocalFolder.open(bytes);
    await this.#attempt(path, async () => {
      if (stat.type === 'other') {
        throw new NetsealError('EINVAL', 'neither a file, nor a folder, nor a symbolic link');
      }
      if (name === undefined) {
        const target = new PutFolder(this.#volume, directory, path, undefined, true);
        await this.#fillFolder(path, openFolder, () => target);
        return;
      }
      const parent = new PutFolder(this.#volume, directory, path, undefined, false);
      await this.#putEntry(parent, { ...stat, name }, path, existing, {
        openFile: () => openLocalFile(bytes),
        readLink: () => readLocalLink(bytes),
        openFolder,
        linkXattrs: () => [],
      });
    });
  }

  #attempt(path: Name, work: () => Promise<void> | void): Promise<void> {
    return copyPart(path, this.#tally, this.#signal, work);
  }

  async #fillFolder(
    path: Name,
    open: () => LocalFolder,
    targetFor: (attributes: Attributes) => Promise<PutFolder> | PutFolder,
  ): Promise<void> {
    const local = open();
    try {
      const what = local.whatOfOurs(this.#own);
      if (what !== undefined) return this.#tally.note(path, `left out: this is ${what}`);
      const attributes = attributesOf(local.stat, local.ownXattrs());
      const target = await targetFor(attributes);
      const entries = target.isNew ? undefined : this.#volume.namespace.entries(target.directory);
      await this.#putEntries(local, target, path, new EntryCursor(entries));
      if (target.isNew) {
        this.#tally.counts.folders += 1;
        this.#batches.addFolder(target);
      } else {
        await this.#updateFolder(target, attributes);
      }
    } finally {
      local.close();
    }
  }

  async #targetFolder(
    parent: PutFolder,
    name: Name,
    path: Name,
    attributes: Attributes,
    existing: DirectoryEntry | undefined,
  ): Promise<PutFolder> {
    if (existing !== undefined) {
      const inode = await onVolume(this.#volume.inodeOf(existing));
      if (inode.type !== 'directory') {
        throw new NetsealError('ENOTDIR', 'a folder cannot replace a file: remove it first');
      }
      return new PutFolder(this.#volume, this.#volume.directoryById(inode.id), path, undefined, true);
    }
    const directory = this.#volume.namespace.newDirectory(attributes, parent.directory.id);
    return new PutFolder(this.#volume, directory, path, { parent, name }, true);
  }

  async #updateFolder({ directory, path }: PutFolder, attributes: Attributes): Promise<void> {
    const inode = await onVolume(directory.read());
    if (isSameAttributes(inode, attributes) && inode.mtimeNs === attributes.mtimeNs) return;
    this.#batches.atEnd(path, () => this.#volume.namespace.setDirectoryAttributes(directory.id, attributes));
  }

  async #putEntries(local: LocalFolder, target: PutFolder, path: Name, cursor: EntryCursor): Promise<void> {
    let done = 0;
    for (const entry of local.entries()) {
      done += 1;
      if (done % NAMES_PER_TURN === 0) {
        // In an unchanged folder nothing else is awaited, so signals and other work would never get a turn.
        await giveTurn();
        this.#signal?.throwIfAborted();
      }
      if (cursor.needsMore(entry.name)) await onVolume(cursor.advance(entry.name));
      const existing = cursor.find(entry.name);
      const entryPath = joinPath(path, entry.name);
      await this.#attempt(entryPath, () =>
        this.#putEntry(target, entry, entryPath, existing, {
          openFile: () => local.openFile(entry.name),
          readLink: () => local.readLink(entry.name),
          openFolder: () => local.folder(entry.name),
          linkXattrs: () => local.xattrs(entry.name),
        }),
      );
    }
  }

  async #putEntry(
    target: PutFolder,
    entry: LocalEntry,
    path: Name,
    existing: DirectoryEntry | undefined,
    local: LocalAccess,
  ): Promise<void> {
    checkName(entry.name);
    if (entry.type === 'folder') {
      await this.#fillFolder(path, local.openFolder, attributes =>
        this.#targetFolder(target, entry.name, path, attributes, existing),
      );
      return;
    }
    const inode = existing === undefined ? undefined : await onVolume(this.#volume.inodeOf(existing));
    if (inode?.type === 'directory') {
      throw new NetsealError('EISDIR', 'a folder of this name is there: remove it first');
    }
    if (entry.type === 'symlink') this.#putSymlink(target, entry, path, inode, local);
    else if (entry.type === 'file') await this.#putFile(target, entry, path, existing, inode, local);
    else this.#tally.note(path, 'not copied: no file, folder or symbolic link');
  }

  #putSymlink(
    target: PutFolder,
    entry: LocalEntry,
    path: Name,
    inode: Inode | undefined,
    local: LocalAccess,
  ): void {
    const leadsTo = local.readLink();
    this.#tally.progress(0, 1);
    const isSame =
      inode?.type === 'symlink' &&
      Buffer.compare(inode.target, leadsTo) === 0 &&
      inode.mtimeNs === entry.mtimeNs;
    if (isSame) {
      this.#tally.counts.unchanged += 1;
      return;
    }
    const link = this.#volume.namespace.newSymlink(attributesOf(entry, local.linkXattrs()), leadsTo);
    this.#batches.addBare(target, entry.name, path, link);
  }

  async #putFile(
    target: PutFolder,
    entry: LocalEntry,
    path: Name,
    existing: DirectoryEntry | undefined,
    inode: Inode | undefined,
    local: LocalAccess,
  ): Promise<void> {
    const { name } = entry;
    const isSame =
      inode?.type === 'file' && inode.sizeBytes === entry.sizeBytes && inode.mtimeNs === entry.mtimeNs;
    if (entry.linkCount > 1) {
      const needsContent = this.#links.add(
        entry,
        { folder: target, name, path },
        isSame ? inode.id : undefined,
      );
      if (needsContent) await this.#putLinked(target, entry, path, local);
      else this.#tally.progress(entry.sizeBytes, 0);
      this.#tally.progress(0, 1);
      if (isSame && existing !== undefined) {
        await this.#updateAttributes(target, existing, entry, path, inode, local);
      }
      const finish = this.#links.takeComplete(entry);
      if (finish !== undefined) void this.#batches.track(finish());
      return;
    }
    if (isSame && inode.linkCount === 1) {
      this.#tally.counts.unchanged += 1;
      this.#tally.progress(entry.sizeBytes, 1);
      if (existing !== undefined) {
        await this.#forgetJournal(target, entry);
        await this.#updateAttributes(target, existing, entry, path, inode, local);
      }
      return;
    }
    const file = local.openFile();
    try {
      const { unitSizeBytes } = this.#volume.settings;
      const created = this.#volume.namespace.newFile(attributesOf(file.stat, file.xattrs()));
      if (file.stat.sizeBytes <= Math.min(unitSizeBytes, SMALL_BYTES_MAX)) {
        // If the file changes from now on, its time differs from the stored one: the next `put` copies it
        // again.
        await this.#batches.addFile(target, name, path, file, created);
        this.#tally.progress(file.stat.sizeBytes, 1);
      } else {
        await this.#putLarge(target, name, path, file, created);
        if (file.changedSinceOpen()) this.#tally.note(path, CHANGED);
      }
    } finally {
      file.close();
    }
  }

  async #putLarge(
    target: PutFolder,
    name: Name,
    path: Name,
    file: LocalFile,
    created: FileInode,
  ): Promise<void> {
    const { inode, segments, journal } = await this.#content(target, name, file, created);
    this.#tally.progress(0, 1);
    const commit = async (): Promise<void> => {
      try {
        // This need not wait: the next files fill the segment that holds the file's end.
        await onVolume(this.#volume.whenDurable(segments));
        await journal?.beforeCommit();
        const [failure] = await target.insertMany([{ name, inode, segments }]);
        if (failure !== undefined) throw failure;
        await journal?.remove();
        this.#tally.counts.files += 1;
        this.#tally.counts.bytes += inode.sizeBytes;
      } catch (error) {
        this.#tally.fail(path, error);
      } finally {
        // Removed, or left for the next time.
        await journal?.close();
      }
    };
    void this.#batches.track(commit());
  }

  /** Copies the content of a file with several names. The names follow once all are known. */
  async #putLinked(target: PutFolder, entry: LocalEntry, path: Name, local: LocalAccess): Promise<void> {
    const file = local.openFile();
    try {
      const created = this.#volume.namespace.newFile(attributesOf(file.stat, file.xattrs()));
      this.#links.setContent(entry, await this.#content(target, entry.name, file, created));
      if (file.changedSinceOpen()) this.#tally.note(path, CHANGED);
    } finally {
      file.close();
    }
  }

  #content({ directory }: PutFolder, name: Name, file: LocalFile, created: FileInode): Promise<PutContent> {
    return putContent(this.#volume, file, { directory: directory.id, name }, created, {
      signal: this.#signal,
      state: this.#options.state,
      onBytes: bytes => this.#tally.progress(bytes, 0),
    });
  }

  /** Removes the journal of a put that was interrupted between its commit and its end. */
  async #forgetJournal({ directory }: PutFolder, entry: LocalEntry): Promise<void> {
    const { state } = this.#options;
    if (state === undefined || entry.sizeBytes < JOURNAL_BYTES_MIN) return;
    const { unitSizeBytes } = this.#volume.settings;
    const target = { directory: directory.id, name: entry.name, unitSizeBytes };
    await PutJournal.forget(state, target, entry);
  }

  /** Updates a file whose content is unchanged: mode, owner or attributes may differ. */
  async #updateAttributes(
    target: PutFolder,
    existing: DirectoryEntry,
    entry: LocalEntry,
    path: Name,
    inode: Inode,
    local: LocalAccess,
  ): Promise<void> {
    const isSameHere = entry.mode === inode.mode && entry.uid === inode.uid && entry.gid === inode.gid;
    // The file was not changed since it was copied.
    if (isSameHere && entry.ctimeNs < inode.ctimeNs - CLOCK_STEP_NS) return;
    const file = local.openFile();
    try {
      const attributes = attributesOf(file.stat, file.xattrs());
      if (isSameAttributes(inode, attributes)) return;
      await this.#batches.update(path, () =>
        this.#volume.namespace.setAttributes(target.directory, existing, attributes),
      );
    } finally {
      file.close();
    }
  }
}

const CHANGED = 'it was changed while it was read: put it again';
/** File systems take times from a clock that is behind by up to one tick. */
const CLOCK_STEP_NS = 50_000_000n;

/** Larger files are never read in one piece, whatever the unit size. */
const SMALL_BYTES_MAX: number = 1024 * 1024;

/** Ways to open or read an entry. All throw the file system's errors. */
interface LocalAccess {
  readonly openFile: () => LocalFile;
  readonly readLink: () => Uint8Array;
  readonly openFolder: () => LocalFolder;
  readonly linkXattrs: () => Attributes['xattrs'];
}

function isSameAttributes(left: Attributes, right: Attributes): boolean {
  return (
    left.mode === right.mode &&
    left.uid === right.uid &&
    left.gid === right.gid &&
    left.xattrs.length === right.xattrs.length &&
    left.xattrs.every(({ key, value }, at) => {
      const other = right.xattrs[at];
      return other?.key === key && Buffer.compare(other.value, value) === 0;
    })
  );
}
