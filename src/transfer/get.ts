/**
 * `get`: copies files and trees out of a volume.
 *
 * - A file appears whole or not at all.
 * - A file that is there already and unchanged (type, size, modification time) is skipped, so a second `get`
 *   goes on where an interruption ended.
 * - Failures of single files, damaged or not writable, are noted, and the rest goes on.
 * - Nothing is ever written outside the target: see local-target.ts.
 */
import { isNetsealError, messageOf, NetsealError } from '../base/errors.ts';
import { MIB } from '../base/geometry.ts';
import type { Id } from '../base/ids.ts';
import type { Name } from '../base/name.ts';
import type {
  DeviceInode,
  DirectoryEntry,
  DirectoryInode,
  FileInode,
  Inode,
  PipeInode,
  SymlinkInode,
} from '../server/sealed/inode.ts';
import type { Directory } from '../volume/names/directory.ts';
import type { Found } from '../volume/names/path-walk.ts';
import { typeOfEntry } from '../volume/names/references.ts';
import type { Volume } from '../volume/volume.ts';
import { checkCopy, copyPart, runCopy } from './copying.ts';
import { CopyFilter } from './filter.ts';
import { GetCompare, type Pair } from './get-compare.ts';
import { GetContent } from './get-content.ts';
import { GetExtras } from './get-extras.ts';
import { GetFiles, isSmall } from './get-files.ts';
import type { GetOptions } from './get-options.ts';
import { type GetJob, ITSELF, planGet } from './get-plan.ts';
import { GetPreview } from './get-preview.ts';
import { whyNotMade } from './get-specials.ts';
import { hasLocks, type LocalStat } from './local-calls.ts';
import { type FoldingRules, foldedKey, isFolding, NameClashes } from './local-folding.ts';
import { checkTargetName, joinPath, showName } from './local-names.ts';
import type { RestoreOptions } from './local-restore.ts';
import { TargetFolder } from './local-target.ts';
import { OwnStorage } from './own-storage.ts';
import { requireForeign } from './own-target.ts';
import { eachOnVolume, onVolume, type Tally } from './tally.ts';
import { withinOf, withinOfFolder } from './within.ts';

/**
 * Copies paths of the volume to a local path. Targets follow the rules of `put`.
 *
 * Fills `tally`. Before anything is written it rejects with ENOENT, ENOTDIR or EINVAL. Later it
 * rejects with what ends the whole copy.
 */
export async function get(
  volume: Volume,
  sources: readonly (string | Uint8Array)[],
  target: string | Uint8Array,
  tally: Tally,
  options: GetOptions = {},
): Promise<void> {
  checkCopy(volume, sources, target, tally, options);
  const own = new OwnStorage(volume.ownFolders);
  const jobs = await planGet(volume, sources, target, own, tally, options);
  const extras = new GetExtras(tally, own, options);
  await runCopy(() =>
    options.dryRun === true
      ? new GetPreview(volume, tally, own, extras, options).run(jobs)
      : new Getter(volume, tally, own, extras, options).run(jobs),
  );
}

/** The first of several names of a file that the copy met. */
interface FirstName {
  readonly root: TargetFolder;
  readonly folders: readonly Name[];
  readonly name: Name;
  readonly path: Name;
  /** True when the local file is there and complete, so that other names can be linked to it. */
  isWritten: boolean;
}

/** A local folder that is being filled. */
interface Target {
  readonly root: TargetFolder;
  /** From the root. */
  readonly folders: readonly Name[];
  readonly folder: TargetFolder;
  readonly device: number;
  readonly rules: FoldingRules;
  /** It was there before. */
  readonly isOld: boolean;
  /** Its path below the folder that is copied, for filters. Undefined for the folder that sources go into. */
  readonly within: Name | undefined;
}

/** An unfinished file belongs to no running copy if it is not locked and did not change for so long. */
const LEFTOVER_AGE_MS = 5_000;
/** The same age on machines where the locks of other processes cannot be seen. */
const LEFTOVER_AGE_UNSEEN_MS: number = 24 * 60 * 60 * 1000;

class Getter {
  readonly #volume: Volume;
  readonly #own: OwnStorage;
  readonly #extras: GetExtras;
  readonly #filter: CopyFilter;
  readonly #compare: GetCompare;
  readonly #tally: Tally;
  readonly #options: GetOptions;
  readonly #restore: RestoreOptions;
  readonly #content: GetContent;
  readonly #files: GetFiles;
  readonly #firstNames = new Map<Id, FirstName>();
  /** Folders of the source that is being copied. */
  readonly #entered = new Set<Id>();
  readonly #signal: AbortSignal | undefined;

  constructor(volume: Volume, tally: Tally, own: OwnStorage, extras: GetExtras, options: GetOptions) {
    this.#volume = volume;
    this.#own = own;
    this.#extras = extras;
    this.#filter = options.filter ?? new CopyFilter();
    const { checksum = false, signal } = options;
    this.#compare = new GetCompare(volume, { checksum, isReadOnly: false, signal });
    this.#tally = tally;
    this.#options = options;
    this.#restore = { owner: options.owner ?? false };
    this.#signal = options.signal;
    const { state } = options;
    this.#content = new GetContent(
      tally,
      this.#restore,
      options.signal,
      state === undefined ? undefined : (to, from) => volume.openGetJournal(state, to, from),
    );
    this.#files = new GetFiles(volume, tally, options.signal, (file, bytes) =>
      this.#content.writeSmall(file, bytes),
    );
  }

  async run(jobs: readonly GetJob[]): Promise<void> {
    const [first] = jobs;
    if (first === undefined) return;
    const path = Buffer.from(first.folder, 'latin1');
    const root = first.name === ITSELF ? TargetFolder.openToFill(path) : TargetFolder.open(path);
    try {
      const rules = this.#options.folding ?? root.probeFolding();
      this.#removeLeftovers(root);
      const target = {
        root,
        folders: [],
        folder: root,
        device: root.stat.device,
        rules,
        isOld: true,
        within: undefined as Name | undefined,
      };
      const clashes = new NameClashes(rules);
      for (const { found, path, name } of jobs) {
        this.#entered.clear();
        await this.#attempt(path, async () => {
          const clash = clashes.add(name);
          if (clash !== undefined) throw clashError(clash);
          const isFolder = found.inode.type === 'directory';
          if (!isFolder && this.#filter.judge(name, false) === 'skip') return;
          await this.#getInode(target, name, path, found.inode, found);
        });
      }
      await this.#files.flush();
      await this.#extras.remove(this.#restore);
    } finally {
      await this.#files.drop();
      this.#compare.close();
      root.close();
    }
  }

  #attempt(path: Name, work: () => Promise<void> | void): Promise<void> {
    return copyPart(path, this.#tally, this.#signal, work);
  }

  async #getInode(
    target: Target,
    name: Name,
    path: Name,
    inode: Inode,
    place: Pick<Found, 'parent' | 'entry'>,
  ): Promise<void> {
    if (inode.type === 'directory') await this.#getFolder(target, name, path, inode, place);
    else if (inode.type === 'symlink') this.#getSymlink(target.folder, name, path, inode);
    else if (inode.type === 'file') await this.#getFile(target, name, path, inode, place);
    else this.#getSpecial(target.folder, name, path, inode);
  }

  /** @param isWanted whether the folder is copied although nothing in it is. */
  async #getFolder(
    target: Target,
    name: Name,
    path: Name,
    inode: DirectoryInode,
    place: Pick<Found, 'parent' | 'entry'>,
    isWanted = true,
  ): Promise<boolean> {
    if (this.#entered.has(inode.id)) {
      const message = 'this folder was met before: it was moved meanwhile, or the volume is damaged';
      throw new NetsealError('EFORMAT', message);
    }
    this.#entered.add(inode.id);
    const inner = name === ITSELF ? { ...target, within: '' } : this.#enter(target, name);
    let isCopied = isWanted;
    try {
      const directory = this.#volume.foundDirectory({ inode, ...place });
      isCopied = (await this.#getEntries(inner, path, inode, directory)) || isWanted;
    } catch (error) {
      isCopied = true;
      throw error;
    } finally {
      if (isCopied) this.#tally.counts.folders += 1;
      // Files of this folder may still have to be written, which would change its times.
      await this.#files.whenWritten(() =>
        this.#finishFolder(inner, path, inode, { closes: name !== ITSELF, isCopied }),
      );
      if (!isCopied && !inner.isOld) {
        await this.#files.whenWritten(() => this.#noting(path, () => target.folder.removeFolder(name)));
      }
    }
    if (isCopied && !inner.isOld) this.#tally.did(path, 'folder');
    return isCopied;
  }

  #enter(target: Target, name: Name): Target {
    const isOld = target.folder.existing(name) !== undefined;
    const folder = target.folder.child(name);
    try {
      const { device } = folder;
      const isSameSystem = device === target.device || this.#options.folding !== undefined;
      const rules = isSameSystem ? target.rules : folder.probeFolding();
      if (isOld) {
        requireForeign(folder, this.#own);
        this.#removeLeftovers(folder);
      }
      const folders = [...target.folders, name];
      return {
        root: target.root,
        folders,
        folder,
        device,
        rules,
        isOld,
        within: withinOfFolder(target, name),
      };
    } catch (error) {
      folder.close();
      throw error;
    }
  }

  /** Removes what an interrupted copy has left in a folder. */
  #removeLeftovers(folder: TargetFolder): void {
    try {
      folder.removeLeftovers(hasLocks() ? LEFTOVER_AGE_MS : LEFTOVER_AGE_UNSEEN_MS);
    } catch {
      // If something is wrong with the folder, writing into it will report that.
    }
  }

  #finishFolder(
    { folder }: Target,
    path: Name,
    inode: Inode,
    { closes, isCopied }: { readonly closes: boolean; readonly isCopied: boolean },
  ): void {
    this.#noting(path, () => {
      try {
        if (!isCopied) return;
        const unset = folder.finishFolder(inode, this.#restore, this.#content.times);
        this.#content.noteUnset(path, unset, inode.mtimeNs);
      } finally {
        if (closes) folder.close();
      }
    });
  }

  /** Runs work that is not awaited, and so must not throw. */
  #noting(path: Name, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#tally.failures.push({ path, error: isNetsealError(error) ? error : unexpected(error) });
    }
  }

  /** Returns whether anything in the folder is copied. */
  async #getEntries(
    target: Target,
    path: Name,
    inode: DirectoryInode,
    directory: Directory,
  ): Promise<boolean> {
    const { folder, isOld, rules } = target;
    const clashes = new NameClashes(rules, isOld && isFolding(rules) ? folder.names() : []);
    const keys = this.#extras.isWanted && isOld ? new Set<string>() : undefined;
    const folders: DirectoryEntry[] = [];
    let isAnyCopied = false;
    for await (const entries of eachOnVolume(this.#volume.namespace.entries(directory, { isWalk: true }))) {
      this.#signal?.throwIfAborted();
      for (const entry of entries) {
        keys?.add(foldedKey(entry.name, rules));
        const entryPath = joinPath(path, entry.name);
        const isFolder = typeOfEntry(entry) === 'directory';
        if (this.#filter.judge(withinOf(target, entry.name), isFolder) === 'skip') continue;
        const clash = clashes.add(entry.name);
        if (clash !== undefined) {
          this.#tally.fail(entryPath, clashError(clash));
        } else if (isFolder) {
          // Afterwards: the files of one folder lie together in the store.
          folders.push(entry);
        } else {
          isAnyCopied = true;
          await this.#attempt(entryPath, async () => {
            await this.#getEntry(target, entry, entryPath, directory);
          });
        }
      }
    }
    for (const entry of folders) {
      this.#signal?.throwIfAborted();
      const entryPath = joinPath(path, entry.name);
      await this.#attempt(entryPath, async () => {
        if (await this.#getEntry(target, entry, entryPath, directory)) isAnyCopied = true;
      });
    }
    if (keys !== undefined) {
      this.#extras.add(
        target,
        inode,
        (name, isFolder) =>
          !keys.has(foldedKey(name, rules)) &&
          this.#filter.judge(withinOf(target, name), isFolder) === 'copy',
      );
    }
    return isAnyCopied;
  }

  async #getEntry(
    target: Target,
    entry: DirectoryEntry,
    path: Name,
    parent: NonNullable<Found['parent']>,
  ): Promise<boolean> {
    checkTargetName(entry.name);
    this.#tally.begin(path);
    const { node } = entry;
    const inode = node.kind === 'embedded' ? node.inode : await onVolume(this.#volume.inodeOf(entry));
    // Another client is removing the folder.
    if (inode.type === 'directory' && inode.isDead) return false;
    if (inode.type === 'directory') {
      const isWanted = this.#filter.judge(withinOf(target, entry.name), true) === 'copy';
      return await this.#getFolder(target, entry.name, path, inode, { parent, entry }, isWanted);
    }
    await this.#getInode(target, entry.name, path, inode, { parent, entry });
    return true;
  }

  #getSymlink(folder: TargetFolder, name: Name, path: Name, inode: SymlinkInode): void {
    this.#tally.progress(0, 1);
    const existing = folder.replaceable(name);
    const isSame =
      existing?.type === 'symlink' &&
      this.#compare.hasTime(folder, existing, inode) &&
      Buffer.compare(folder.readLink(name), inode.target) === 0;
    if (isSame && this.#hasOwner(existing, inode)) {
      this.#tally.counts.unchanged += 1;
      return;
    }
    const mtimeNs = folder.symlink(name, inode.target, inode, this.#restore);
    const keys = inode.xattrs.map(({ key }) => key);
    this.#content.noteUnset(path, { keys, mtimeNs }, inode.mtimeNs);
    this.#tally.counts.symlinks += 1;
    this.#tally.did(path, 'symlink');
  }

  #getSpecial(folder: TargetFolder, name: Name, path: Name, inode: PipeInode | DeviceInode): void {
    const why = whyNotMade(inode, this.#options);
    if (why !== undefined) {
      this.#tally.note(path, why);
      return;
    }
    this.#tally.progress(0, 1);
    const existing = folder.existing(name);
    const isThere = existing !== undefined && this.#compare.isSpecial(existing, inode);
    if (isThere && this.#hasAttributes(folder, existing, inode)) {
      this.#tally.counts.unchanged += 1;
      return;
    }
    // Programs may have it open: it is not replaced.
    const mtimeNs = isThere
      ? folder.restoreSpecial(name, inode, this.#restore)
      : folder.special(name, inode, this.#restore);
    this.#content.noteUnset(path, { keys: inode.xattrs.map(({ key }) => key), mtimeNs }, inode.mtimeNs);
    this.#tally.counts[isThere ? 'unchanged' : 'specials'] += 1;
    this.#tally.did(path, isThere ? 'attributes' : 'special');
  }

  async #getFile(
    target: Target,
    name: Name,
    path: Name,
    inode: FileInode,
    place: Pick<Found, 'parent' | 'entry'>,
  ): Promise<void> {
    const { root, folder, folders } = target;
    let onWritten: (() => void) | undefined;
    if (inode.linkCount > 1) {
      const known = this.#firstNames.get(inode.id);
      if (known !== undefined) {
        await this.#files.whenWritten(isComplete => {
          if (isComplete) this.#noting(path, () => this.#linkTo(known, folder, name, inode));
        });
        return;
      }
      const first: FirstName = { root, folders, name, path, isWritten: false };
      this.#firstNames.set(inode.id, first);
      onWritten = () => {
        first.isWritten = true;
      };
    }
    const existing = folder.replaceable(name);
    if (existing !== undefined && (await this.#isKept({ folder, name, existing, inode, place }, path))) {
      this.#tally.counts.unchanged += 1;
      this.#tally.progress(inode.sizeBytes, 1);
      onWritten?.();
    } else if (isSmall(inode)) {
      await this.#files.add({ folder, name, path, inode, onWritten });
    } else {
      await this.#files.makeRoom(Math.max(inode.unitSizeBytes, READ_BYTES));
      await this.#content.writeLarge(folder, name, path, this.#volume.reader(inode, place));
      onWritten?.();
    }
  }

  /** Returns true when the local file is the wanted one already. Then its attributes are set. */
  async #isKept(pair: Pair, path: Name): Promise<boolean> {
    const { folder, name, existing, inode } = pair;
    if (this.#compare.needsContent(pair))
      await this.#files.makeRoom(Math.max(inode.unitSizeBytes, READ_BYTES));
    if (!(await this.#compare.isSame(pair))) return false;
    const hasAttributes = this.#hasAttributes(folder, existing, inode);
    // A change in the volume after the file was written here shows in the time of that change.
    if (hasAttributes && (inode.ctimeNs <= existing.ctimeNs || existing.linkCount > 1)) return true;
    const unset = folder.restore(name, existing, inode, this.#restore);
    if (unset === false) return false;
    this.#content.noteUnset(path, unset, inode.mtimeNs);
    if (!hasAttributes) this.#tally.did(path, 'attributes');
    return true;
  }

  #hasAttributes(folder: TargetFolder, existing: LocalStat, inode: Inode): boolean {
    const mode = this.#options.owner === true ? inode.mode : inode.mode & 0o1777;
    const isSame = existing.mode === mode && this.#hasOwner(existing, inode);
    return isSame && this.#compare.hasTime(folder, existing, inode);
  }

  #hasOwner({ uid, gid }: LocalStat, inode: Inode): boolean {
    return this.#options.owner !== true || (uid === inode.uid && gid === inode.gid);
  }

  /** Links another name of a file, once its first name is there. */
  #linkTo(first: FirstName, folder: TargetFolder, name: Name, { sizeBytes }: FileInode): void {
    if (!first.isWritten) {
      const why = this.#tally.failures.find(({ path }) => path === first.path)?.error;
      const message = `not written, as another name of it was not, ${showName(first.path)}`;
      throw new NetsealError(why?.code ?? 'EIO', message, { cause: why });
    }
    const existing = folder.replaceable(name);
    const from = first.root.descend(first.folders);
    try {
      const original = from.existing(first.name);
      const isLinked = existing?.inode === original?.inode && existing?.device === original?.device;
      if (!isLinked) {
        folder.link(name, from, first.name);
        this.#tally.did(joinPath(folder.path, name), 'link');
      }
      this.#tally.counts[isLinked ? 'unchanged' : 'links'] += 1;
      this.#tally.progress(sizeBytes, 1);
    } finally {
      from.close();
    }
  }
}

/** The least that a reader asks for at once. */
const READ_BYTES: number = 2 * MIB;

function clashError(clash: Name): NetsealError {
  return new NetsealError(
    'EEXIST',
    `not written: "${showName(clash)}" has the same name to this file system`,
  );
}

function unexpected(cause: unknown): NetsealError {
  return new NetsealError('EBUG', `unexpected: ${messageOf(cause)}`, { cause });
}
