/**
 * `put`: copies local files and trees into a volume. A file that is there already and unchanged is skipped
 * (`put-files.ts` says how that is decided), so a second `put` goes on where an interruption ended. Failures
 * of single files are noted, and the rest goes on.
 *
 *   walk ──▶ files and links (put-files.ts)
 *        │     ├─▶ small files: batches (put-batch.ts) ──▶ names in groups, as their segments arrive
 *        │     ├─▶ large files, one after another (put-file.ts) ──▶ names
 *        │     └─▶ files with several names (put-links.ts) ──▶ at the end
 *        ├─▶ folders: stored with their first names (put-folder.ts), or at their end
 *        └─▶ names that the source lacks: removed at the end, if that was asked for (put-extras.ts)
 */
import { NetsealError } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { giveTurn } from '../base/turns.ts';
import type { Attributes, DirectoryEntry } from '../server/sealed/inode.ts';
import { checkName } from '../volume/names/name-checks.ts';
import { typeOfEntry } from '../volume/names/references.ts';
import type { Volume } from '../volume/volume.ts';
import { checkCopy, copyPart, runCopy } from './copying.ts';
import { CopyFilter } from './filter.ts';
import { isSpecial } from './local-calls.ts';
import { isPartialName, joinPath } from './local-names.ts';
import { attributesOf, type LocalEntry, LocalFolder, openLocalFile, readLocalLink } from './local-source.ts';
import { OwnStorage } from './own-storage.ts';
import { PutBatches } from './put-batch.ts';
import { PutExtras } from './put-extras.ts';
import { type LocalAccess, PutFiles, type Suspect } from './put-files.ts';
import { EntryCursor, PutFolder } from './put-folder.ts';
import { PutLinks } from './put-links.ts';
import type { PutOptions } from './put-options.ts';
import { type PutJob, planPut } from './put-plan.ts';
import { isSameAttributes } from './same.ts';
import { onVolume, type Tally } from './tally.ts';

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
  checkCopy(volume, sources, target, tally, options);
  const own = new OwnStorage(volume.ownFolders);
  const jobs = await planPut(volume, sources, target, own, options);
  await runCopy(() => new Putter(volume, tally, own, options).run(jobs));
}

/** How many names of a folder are looked at before other work gets a turn. */
const NAMES_PER_TURN = 64;

class Putter {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #options: PutOptions;
  readonly #batches: PutBatches;
  readonly #links: PutLinks;
  readonly #files: PutFiles;
  readonly #extras: PutExtras;
  readonly #filter: CopyFilter;
  readonly #signal: AbortSignal | undefined;
  readonly #own: OwnStorage;

  constructor(volume: Volume, tally: Tally, own: OwnStorage, options: PutOptions) {
    this.#volume = volume;
    this.#tally = tally;
    this.#options = options;
    this.#signal = options.signal;
    this.#own = own;
    this.#filter = options.filter ?? new CopyFilter();
    this.#batches = new PutBatches(volume, tally, options.signal);
    this.#links = new PutLinks(volume, tally);
    this.#files = new PutFiles(volume, tally, this.#batches, this.#links, options);
    this.#extras = new PutExtras(volume, tally, options);
  }

  async run(jobs: readonly PutJob[]): Promise<void> {
    try {
      for (const job of jobs) await this.#putTop(job);
      await this.#batches.flush();
      await this.#links.finish(this.#signal);
      await this.#extras.remove();
      await this.#batches.end();
    } catch (error) {
      await this.#batches.drop();
      await this.#links.drop();
      throw error;
    }
  }

  async #putTop({ path, stat, directory, name, target, existing }: PutJob): Promise<void> {
    const bytes = Buffer.from(path, 'latin1');
    const openFolder = (): LocalFolder => LocalFolder.open(bytes);
    await this.#attempt(path, async () => {
      // Whoever names a FIFO may want what is written to it. With -r it is copied as what it is.
      if (isSpecial(stat.type) && this.#options.recursive !== true) {
        throw new NetsealError('EINVAL', 'neither a file, nor a folder, nor a symbolic link');
      }
      if (name === undefined) {
        const place = { directory, path, volumePath: target, within: '', keepTimes: true };
        await this.#fillFolder(path, openFolder, () => new PutFolder(this.#volume, place), true);
        return;
      }
      if (this.#filter.judge(name, stat.type === 'folder') === 'skip') return;
      const place = { directory, path, volumePath: parentOf(target), within: undefined, keepTimes: false };
      const suspects: Suspect[] = [];
      const parent = new PutFolder(this.#volume, place);
      await this.#putEntry(parent, { ...stat, name }, path, existing, suspects, {
        openFile: () => openLocalFile(bytes),
        readLink: () => readLocalLink(bytes),
        openFolder,
        linkXattrs: () => [],
      });
      await this.#files.putChanged(suspects);
    });
  }

  #attempt(path: Name, work: () => Promise<void> | void): Promise<void> {
    return copyPart(path, this.#tally, this.#signal, work);
  }

  /** @param isWanted whether the folder is copied although nothing in it is. */
  async #fillFolder(
    path: Name,
    open: () => LocalFolder,
    targetFor: (attributes: Attributes) => Promise<PutFolder> | PutFolder,
    isWanted: boolean,
  ): Promise<void> {
    const local = open();
    try {
      const what = local.whatOfOurs(this.#own);
      if (what !== undefined) return this.#tally.note(path, `left out: this is ${what}`);
      const onLost = (lost: string): void => this.#tally.note(path, lost);
      const attributes = attributesOf(local.stat, local.ownXattrs(onLost), this.#options, onLost);
      const target = await targetFor(attributes);
      const hadExtras = await this.#putEntries(local, target, path);
      if (!target.isNew) await this.#updateFolder(target, attributes, hadExtras);
      else if (isWanted) this.#addFolder(target);
    } finally {
      local.close();
    }
  }

  #addFolder(target: PutFolder): void {
    this.#tally.counts.folders += 1;
    this.#tally.did(target.path, 'folder');
    if (this.#options.dryRun !== true) this.#batches.addFolder(target);
  }

  async #targetFolder(
    parent: PutFolder,
    name: Name,
    path: Name,
    attributes: Attributes,
    existing: DirectoryEntry | undefined,
  ): Promise<PutFolder> {
    const within = parent.within === undefined ? '' : parent.pathWithin(name);
    const place = { path, volumePath: joinPath(parent.volumePath, name), within, keepTimes: true };
    if (existing !== undefined) {
      if (typeOfEntry(existing) !== 'directory') {
        throw new NetsealError('ENOTDIR', 'a folder cannot replace a file: remove it first');
      }
      const directory = this.#volume.directoryOf(parent.directory, existing);
      return new PutFolder(this.#volume, { ...place, directory });
    }
    const at = { directory: parent.directory, name };
    const options = { keepTimes: parent.keepTimes };
    const directory = this.#volume.namespace.newDirectoryAt(at, attributes, options);
    return new PutFolder(this.#volume, { ...place, directory }, { parent, name });
  }

  async #updateFolder(
    { directory, path }: PutFolder,
    attributes: Attributes,
    isChanged: boolean,
  ): Promise<void> {
    const inode = await onVolume(directory.read());
    const isSame = isSameAttributes(inode, attributes) && inode.mtimeNs === attributes.mtimeNs;
    if ((isSame && !isChanged) || this.#options.dryRun === true) return;
    this.#batches.atEnd(path, () => this.#volume.namespace.setDirectoryAttributes(directory, attributes));
  }

  /** Puts all entries of a folder. Returns whether the target has names that the folder lacks. */
  async #putEntries(local: LocalFolder, target: PutFolder, path: Name): Promise<boolean> {
    const extras = this.#extras.of(target, this.#filter);
    const entries = target.isNew
      ? undefined
      : this.#volume.namespace.entries(target.directory, { isWalk: true });
    const cursor = new EntryCursor(entries, extras.add);
    const suspects: Suspect[] = [];
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
      const verdict = this.#filter.judge(target.pathWithin(entry.name), entry.type === 'folder');
      if (verdict === 'skip') continue;
      const entryPath = joinPath(path, entry.name);
      const access: LocalAccess = {
        openFile: () => local.openFile(entry.name),
        readLink: () => local.readLink(entry.name),
        openFolder: () => local.folder(entry.name),
        linkXattrs: onLost => local.xattrs(entry.name, onLost),
      };
      await this.#attempt(entryPath, () =>
        this.#putEntry(target, entry, entryPath, existing, suspects, access, verdict === 'copy'),
      );
    }
    if (this.#extras.isWanted) await onVolume(cursor.finish());
    await this.#files.putChanged(suspects);
    return extras.areThere();
  }

  async #putEntry(
    target: PutFolder,
    entry: LocalEntry,
    path: Name,
    existing: DirectoryEntry | undefined,
    suspects: Suspect[],
    local: LocalAccess,
    isWanted = true,
  ): Promise<void> {
    checkName(entry.name);
    if (entry.type === 'folder') {
      const targetFor = (attributes: Attributes): Promise<PutFolder> =>
        this.#targetFolder(target, entry.name, path, attributes, existing);
      await this.#fillFolder(path, local.openFolder, targetFor, isWanted);
      return;
    }
    if (isPartialName(entry.name)) {
      this.#tally.note(path, 'left out: netseal has not finished this file');
      return;
    }
    const inode = existing === undefined ? undefined : await onVolume(this.#volume.inodeOf(existing));
    if (inode?.type === 'directory') {
      throw new NetsealError('EISDIR', 'a folder of this name is there: remove it first');
    }
    const item = { target, entry, path, existing, inode, local };
    if (entry.type === 'symlink') this.#files.putSymlink(item);
    else if (entry.type === 'file') await this.#files.putFile(item, suspects);
    else this.#files.putSpecial(item);
  }
}

/** Returns the folder of a path of the volume. */
function parentOf(path: Name): Name {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}
