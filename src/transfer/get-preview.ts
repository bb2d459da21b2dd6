/**
 * The dry run of `get`: says what would be written and removed. It writes nothing, not even to find out what
 * the target keeps: see `KeptTimes`. So it does not know which names collide on the target's file system.
 */
import type { Id } from '../base/ids.ts';
import type { Name } from '../base/name.ts';
import type { DeviceInode, DirectoryInode, FileInode, Inode, PipeInode } from '../server/sealed/inode.ts';
import type { Directory } from '../volume/names/directory.ts';
import type { Found } from '../volume/names/path-walk.ts';
import { typeOfEntry } from '../volume/names/references.ts';
import type { Volume } from '../volume/volume.ts';
import { copyPart } from './copying.ts';
import { CopyFilter } from './filter.ts';
import { GetCompare } from './get-compare.ts';
import type { GetExtras } from './get-extras.ts';
import type { GetOptions } from './get-options.ts';
import { type GetJob, ITSELF } from './get-plan.ts';
import { whyNotMade } from './get-specials.ts';
import { checkTargetName, joinPath } from './local-names.ts';
import { TargetFolder } from './local-target.ts';
import type { OwnStorage } from './own-storage.ts';
import { requireForeign } from './own-target.ts';
import { eachOnVolume, onVolume, type Tally } from './tally.ts';
import { withinOf, withinOfFolder } from './within.ts';

/** A folder that would be filled. */
interface Place {
  readonly root: TargetFolder;
  readonly folders: readonly Name[];
  /** Undefined where there is none yet. */
  readonly folder: TargetFolder | undefined;
  readonly within: Name | undefined;
}

export class GetPreview {
  readonly #volume: Volume;
  readonly #tally: Tally;
  readonly #own: OwnStorage;
  readonly #extras: GetExtras;
  readonly #options: GetOptions;
  readonly #filter: CopyFilter;
  readonly #compare: GetCompare;
  readonly #files = new Set<Id>();

  constructor(volume: Volume, tally: Tally, own: OwnStorage, extras: GetExtras, options: GetOptions) {
    this.#volume = volume;
    this.#tally = tally;
    this.#own = own;
    this.#extras = extras;
    this.#options = options;
    this.#filter = options.filter ?? new CopyFilter();
    const { checksum = false, signal } = options;
    this.#compare = new GetCompare(volume, { checksum, isReadOnly: true, signal });
  }

  async run(jobs: readonly GetJob[]): Promise<void> {
    const [first] = jobs;
    if (first === undefined) return;
    const root = TargetFolder.open(Buffer.from(first.folder, 'latin1'));
    try {
      const place = { root, folders: [], folder: root, within: undefined };
      for (const { found, path, name } of jobs) {
        const isFolder = found.inode.type === 'directory';
        if (!isFolder && this.#filter.judge(name, false) === 'skip') continue;
        await this.#attempt(path, () => this.#look(place, name, path, found.inode, found, true));
      }
      await this.#extras.remove({});
    } finally {
      this.#compare.close();
      root.close();
    }
  }

  async #attempt(path: Name, work: () => Promise<boolean>): Promise<boolean> {
    let isCopied = true;
    await copyPart(path, this.#tally, this.#options.signal, async () => {
      isCopied = await work();
    });
    return isCopied;
  }

  /** Returns whether the entry would be copied, changed or not. */
  async #look(
    place: Place,
    name: Name,
    path: Name,
    inode: Inode,
    found: Pick<Found, 'parent' | 'entry'>,
    isWanted: boolean,
  ): Promise<boolean> {
    if (name !== ITSELF) checkTargetName(name);
    this.#tally.begin(path);
    if (inode.type === 'directory') {
      const directory = this.#volume.foundDirectory({ inode, ...found });
      return await this.#lookInto(place, name, path, inode, directory, isWanted);
    }
    if (inode.type === 'file') {
      place.folder?.replaceable(name);
      await this.#lookAtFile(place, name, path, inode, found);
    } else if (inode.type !== 'symlink') {
      this.#lookAtSpecial(place, name, path, inode);
    } else {
      const existing = place.folder?.replaceable(name);
      this.#tally.progress(0, 1);
      const isSame =
        existing?.type === 'symlink' &&
        place.folder !== undefined &&
        this.#compare.hasTime(place.folder, existing, inode) &&
        Buffer.compare(place.folder.readLink(name), inode.target) === 0;
      this.#count(path, isSame ? 'unchanged' : 'symlinks', 'symlink');
    }
    return true;
  }

  #lookAtSpecial({ folder }: Place, name: Name, path: Name, inode: PipeInode | DeviceInode): void {
    const why = whyNotMade(inode, this.#options);
    if (why !== undefined) {
      this.#tally.note(path, why);
      return;
    }
    this.#tally.progress(0, 1);
    const existing = folder?.existing(name);
    const isSame = existing !== undefined && this.#compare.isSpecial(existing, inode);
    if (!isSame) folder?.replaceable(name);
    this.#count(path, isSame ? 'unchanged' : 'specials', 'special');
  }

  async #lookAtFile(
    { folder }: Place,
    name: Name,
    path: Name,
    inode: FileInode,
    place: Pick<Found, 'parent' | 'entry'>,
  ): Promise<void> {
    const existing = folder?.existing(name);
    const isSame =
      folder !== undefined &&
      existing !== undefined &&
      (await this.#compare.isSame({ folder, name, existing, inode, place }));
    this.#tally.progress(inode.sizeBytes, 1);
    const isFirst = inode.linkCount === 1 || !this.#files.has(inode.id);
    this.#files.add(inode.id);
    if (isSame) this.#count(path, 'unchanged', 'file');
    else if (isFirst) {
      this.#count(path, 'files', 'file');
      this.#tally.counts.bytes += inode.sizeBytes;
    } else this.#count(path, 'links', 'link');
  }

  #count(
    path: Name,
    count: 'unchanged' | 'files' | 'links' | 'symlinks' | 'specials',
    deed: 'file' | 'link' | 'symlink' | 'special',
  ): void {
    this.#tally.counts[count] += 1;
    if (count !== 'unchanged') this.#tally.did(path, deed);
  }

  async #lookInto(
    place: Place,
    name: Name,
    path: Name,
    inode: DirectoryInode,
    directory: Directory,
    isWanted: boolean,
  ): Promise<boolean> {
    const inner = name === ITSELF ? { ...place, within: '' } : this.#enter(place, name);
    try {
      const isCopied = (await this.#lookAtEntries(inner, path, inode, directory)) || isWanted;
      if (!isCopied) return false;
      this.#tally.counts.folders += 1;
      if (inner.folder === undefined) this.#tally.did(path, 'folder');
      return true;
    } finally {
      if (name !== ITSELF) inner.folder?.close();
    }
  }

  #enter({ root, folders, folder, within }: Place, name: Name): Place {
    const inner = folder?.existing(name) === undefined ? undefined : folder.peek(name);
    try {
      if (inner !== undefined) requireForeign(inner, this.#own);
    } catch (error) {
      inner?.close();
      throw error;
    }
    return { root, folders: [...folders, name], folder: inner, within: withinOfFolder({ within }, name) };
  }

  async #lookAtEntries(
    place: Place,
    path: Name,
    inode: DirectoryInode,
    directory: Directory,
  ): Promise<boolean> {
    const names = new Set<Name>();
    let isAnyCopied = false;
    for await (const entries of eachOnVolume(this.#volume.namespace.entries(directory, { isWalk: true }))) {
      for (const entry of entries) {
        this.#options.signal?.throwIfAborted();
        names.add(entry.name);
        const isFolder = typeOfEntry(entry) === 'directory';
        const verdict = this.#filter.judge(withinOf(place, entry.name), isFolder);
        if (verdict === 'skip') continue;
        const entryPath = joinPath(path, entry.name);
        const isCopied = await this.#attempt(entryPath, async () => {
          const below = await onVolume(this.#volume.inodeOf(entry));
          const found = { parent: directory, entry };
          return await this.#look(place, entry.name, entryPath, below, found, verdict === 'copy');
        });
        isAnyCopied ||= isCopied;
      }
    }
    const { folder } = place;
    if (folder !== undefined && this.#extras.isWanted) {
      const isExtra = (name: Name, isFolder: boolean): boolean =>
        !names.has(name) && this.#filter.judge(withinOf(place, name), isFolder) === 'copy';
      this.#extras.add({ ...place, folder }, inode, isExtra);
    }
    return isAnyCopied;
  }
}
