/**
 * Copies local files and trees into a volume. What is there already and unchanged (type, size, modification time) is skipped, so
 * that a repetition goes on where an interruption ended. What cannot be copied is noted, and the rest goes on.
 *
 *   walk ──▶ small files: batches (put-batch.ts) ──▶ names in groups, as their segments arrive
 *        ├─▶ large files, one after the other (put-file.ts) ──▶ names
 *        ├─▶ files with several names (put-links.ts) ──▶ at the end
 *        └─▶ folders: with their first names (put-folder.ts), or when they are done
 */
import { NetsealError, requireArgument } from '../base/errors.ts';
import type { Id } from '../server/sealed/ids.ts';
import type { Attributes, DirectoryEntry, Inode, Name } from '../server/sealed/inode.ts';
import type { ClientState } from '../volume/client-state.ts';
import type { Directory } from '../volume/directory.ts';
import { checkName, toBytesName } from '../volume/names.ts';
import type { Volume } from '../volume/volume.ts';
import type { LocalStat } from './local-calls.ts';
import { joinPath } from './local-names.ts';
import {
  attributesOf,
  type LocalEntry,
  type LocalFile,
  LocalFolder,
  openLocalFile,
  readLocalLink,
  statLocal,
} from './local-source.ts';
import { PutBatches } from './put-batch.ts';
import { putContent } from './put-file.ts';
import { EntryCursor, PutFolder } from './put-folder.ts';
import { PutLinks } from './put-links.ts';
import { onVolume, StoreFailure, type Tally } from './tally.ts';

export interface PutOptions {
  /** Folders with all that is in them; otherwise they are refused. */
  readonly recursive?: boolean | undefined;
  /** For journals of large files. */
  readonly state?: ClientState | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Copies local paths to a path of the volume.
 *
 * A target that ends in `/`, or that several sources go to, is a folder that must be there: each source goes into it under its
 * own name. So do files if the target is a folder. Otherwise the target is the name that the source gets; a folder's content
 * then goes into a folder that is there.
 *
 * Fills `tally`. Rejects before anything is copied with ENOENT, EISDIR, ENOTDIR, EINVAL; later with what ends everything: the
 * signal's reason, what the store fails with. What was copied until then stays.
 */
export async function put(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  tally: Tally,
  options: PutOptions = {},
): Promise<void> {
  const jobs = await plan(volume, sources, target, options);
  const putter = new Putter(volume, tally, options);
  try {
    await putter.run(jobs);
  } catch (error) {
    throw error instanceof StoreFailure ? error.cause : error;
  }
}

/** One source with its place. */
interface PutJob {
  readonly path: Name;
  readonly stat: LocalStat;
  readonly directory: Directory;
  readonly name: Name;
  readonly existing: DirectoryEntry | undefined;
}

/** Looks at everything that was named before anything is changed. */
async function plan(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  { recursive = false }: PutOptions,
): Promise<PutJob[]> {
  const targetText = toBytesName(target);
  const looked = sources.map(source => {
    const path = toBytesName(source);
    const stat = statLocal(source, { followsLink: !recursive });
    if (stat.type === 'folder' && !recursive) {
      throw new NetsealError(
        'EISDIR',
        `${Buffer.from(path, 'latin1')} is a folder: add -r to copy all of it`,
      );
    }
    return { path, stat };
  });
  const isInto = sources.length > 1 || targetText.endsWith('/');
  const there = isInto ? await volume.directory(target) : await folderAt(volume, target);
  const jobs: PutJob[] = [];
  for (const { path, stat } of looked) {
    const goesInto = there !== undefined && (isInto || stat.type !== 'folder');
    if (goesInto) {
      const name = lastName(path);
      jobs.push({ path, stat, directory: there, name, existing: await volume.names.find(there, name) });
      continue;
    }
    const { directory, name } = await volume.place(target);
    jobs.push({ path, stat, directory, name, existing: await volume.names.find(directory, name) });
  }
  const names = new Set(jobs.map(({ directory, name }) => `${directory.id}/${name}`));
  requireArgument(names.size === jobs.length, 'two of the sources have the same name: copy them one by one');
  return jobs;
}

async function folderAt(volume: Volume, path: string | Uint8Array): Promise<Directory | undefined> {
  try {
    return await volume.directory(path);
  } catch (error) {
    if (error instanceof NetsealError && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw error;
  }
}

function lastName(path: Name): Name {
  const name = path.split('/').findLast(part => part !== '') ?? '';
  requireArgument(
    name !== '' && name !== '.' && name !== '..',
    `${Buffer.from(path, 'latin1')} has no name of its own: say under which name to put it`,
  );
  return name;
}

/** Names of a folder that are looked at before others get a turn. */
const NAMES_PER_TURN = 64;

class Putter {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #options: PutOptions;
  readonly #batches: PutBatches;
  readonly #links: PutLinks;
  readonly #signal: AbortSignal | undefined;

  constructor(volume: Volume, tally: Tally, options: PutOptions) {
    this.#volume = volume;
    this.#tally = tally;
    this.#options = options;
    this.#signal = options.signal;
    this.#batches = new PutBatches(volume, tally, options.signal);
    this.#links = new PutLinks(volume, tally);
  }

  async run(jobs: readonly PutJob[]): Promise<void> {
    try {
      for (const job of jobs) {
        const parent = new PutFolder(this.#volume, job.directory, undefined, false);
        await this.#putTop(parent, job);
      }
      await this.#batches.flush();
      await this.#links.finish();
      await this.#batches.end();
    } catch (error) {
      await this.#batches.drop();
      throw error;
    }
  }

  async #putTop(parent: PutFolder, { path, stat, name, existing }: PutJob): Promise<void> {
    checkName(name);
    const entry = { ...stat, name };
    if (stat.type === 'folder') {
      await this.#attempt(path, async () => {
        await this.#putFolder(
          parent,
          name,
          path,
          () => LocalFolder.open(Buffer.from(path, 'latin1')),
          existing,
        );
      });
      return;
    }
    await this.#attempt(path, () =>
      this.#putEntry(parent, entry, path, existing, {
        openFile: () => openLocalFile(Buffer.from(path, 'latin1')),
        readLink: () => readLocalLink(Buffer.from(path, 'latin1')),
        openFolder: () => LocalFolder.open(Buffer.from(path, 'latin1')),
        linkXattrs: () => [],
      }),
    );
  }

  /** Runs a part of the work; a failure of its own does not end the rest. */
  async #attempt(path: Name, work: () => Promise<void> | void): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof StoreFailure) throw error;
      this.#signal?.throwIfAborted();
      this.#tally.fail(path, error);
    }
  }

  async #putFolder(
    parent: PutFolder,
    name: Name,
    path: Name,
    open: () => LocalFolder,
    existing: DirectoryEntry | undefined,
  ): Promise<void> {
    const local = open();
    try {
      const attributes = attributesOf(local.stat, local.ownXattrs());
      const target = await this.#targetFolder(parent, name, attributes, existing);
      const entries = target.isNew ? undefined : this.#volume.names.entries(target.directory);
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
    attributes: Attributes,
    existing: DirectoryEntry | undefined,
  ): Promise<PutFolder> {
    if (existing !== undefined) {
      const inode = await onVolume(this.#volume.inodes.inodeOf(existing));
      if (inode.type !== 'directory') {
        throw new NetsealError('ENOTDIR', 'a folder cannot replace a file: remove it first');
      }
      return new PutFolder(this.#volume, this.#volume.inodes.directory(inode.id), undefined, true);
    }
    const directory = this.#volume.names.newDirectory(attributes, parent.directory.id);
    return new PutFolder(this.#volume, directory, { parent, name }, true);
  }

  async #updateFolder({ directory }: PutFolder, attributes: Attributes): Promise<void> {
    const inode = await directory.read();
    if (isSameAttributes(inode, attributes) && inode.mtimeNs === attributes.mtimeNs) return;
    this.#batches.atEnd(async () => {
      await onVolume(this.#volume.names.setDirectoryAttributes(directory.id, attributes));
    });
  }

  async #putEntries(local: LocalFolder, target: PutFolder, path: Name, cursor: EntryCursor): Promise<void> {
    let done = 0;
    for (const entry of local.entries()) {
      done += 1;
      if (done % NAMES_PER_TURN === 0) {
        this.#signal?.throwIfAborted();
        await Promise.resolve();
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
      await this.#putFolder(target, entry.name, path, local.openFolder, existing);
      return;
    }
    const inode = existing === undefined ? undefined : await onVolume(this.#volume.inodes.inodeOf(existing));
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
    const link = this.#volume.names.newSymlink(attributesOf(entry, local.linkXattrs()), leadsTo);
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
      if (needsContent) await this.#putLinked(target, entry, local);
      this.#tally.progress(entry.sizeBytes, 1);
      return;
    }
    if (isSame && inode.linkCount === 1) {
      this.#tally.counts.unchanged += 1;
      this.#tally.progress(entry.sizeBytes, 1);
      if (existing !== undefined) await this.#updateAttributes(target, existing, entry, inode, local);
      return;
    }
    const file = local.openFile();
    try {
      const { unitSizeBytes } = this.#volume.settings;
      const created = this.#volume.names.newFile(attributesOf(file.stat, file.xattrs()));
      if (file.stat.sizeBytes <= Math.min(unitSizeBytes, SMALL_BYTES_MAX)) {
        // If it changes now, its time is another than the one that is kept: a repetition copies it again.
        await this.#batches.addFile(target, name, path, file, created);
        this.#tally.progress(file.stat.sizeBytes, 1);
      } else {
        await this.#putLarge(target, name, path, file, created);
        if (file.changedSinceOpen()) this.#tally.note(path, 'it was changed while it was read: put it again');
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
    created: ReturnType<Volume['names']['newFile']>,
  ): Promise<void> {
    const { inode, segments, journal } = await this.#content(target.directory.id, name, file, created);
    this.#tally.progress(0, 1);
    const { dataSegments } = this.#volume.session;
    this.#batches.track(
      (async () => {
        // No hurry: the next files fill the segment that its end is in.
        await onVolume(Promise.all([...segments].map(segment => dataSegments.durable(segment))));
        const [failure] = await target.insertMany([{ name, inode, segments }]);
        await journal?.remove();
        if (failure !== undefined) {
          this.#tally.fail(path, failure);
          return;
        }
        this.#tally.counts.files += 1;
        this.#tally.counts.bytes += inode.sizeBytes;
      })(),
    );
  }

  /** The content of a file with several names; the names come at the end. */
  async #putLinked(target: PutFolder, entry: LocalEntry, local: LocalAccess): Promise<void> {
    const file = local.openFile();
    try {
      const created = this.#volume.names.newFile(attributesOf(file.stat, file.xattrs()));
      const { inode, segments, journal } = await this.#content(
        target.directory.id,
        entry.name,
        file,
        created,
      );
      await journal?.remove();
      this.#links.setContent(entry, inode, segments);
    } finally {
      file.close();
    }
  }

  #content(
    directory: Id,
    name: Name,
    file: LocalFile,
    created: ReturnType<Volume['names']['newFile']>,
  ): ReturnType<typeof putContent> {
    return putContent(this.#volume, file, { directory, name }, created, {
      signal: this.#signal,
      state: this.#options.state,
      onBytes: bytes => this.#tally.progress(bytes, 0),
    });
  }

  /** Content is the same; mode, owner or attributes may have changed since. */
  async #updateAttributes(
    target: PutFolder,
    existing: DirectoryEntry,
    entry: LocalEntry,
    inode: Inode,
    local: LocalAccess,
  ): Promise<void> {
    // Nobody has touched it since it was copied.
    if (entry.ctimeNs <= inode.ctimeNs && entry.mode === inode.mode) return;
    const file = local.openFile();
    try {
      const attributes = attributesOf(file.stat, file.xattrs());
      if (isSameAttributes(inode, attributes)) return;
      await onVolume(this.#volume.names.setAttributes(target.directory, existing, attributes));
    } finally {
      file.close();
    }
  }
}

/** Larger files are not read at once, whatever the unit size. */
const SMALL_BYTES_MAX: number = 1024 * 1024;

/** How to get at what an entry is; throws what the file system fails with. */
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
