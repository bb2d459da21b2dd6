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
  DirectoryEntry,
  DirectoryInode,
  FileInode,
  Inode,
  SymlinkInode,
} from '../server/sealed/inode.ts';
import type { Found, Volume } from '../volume/volume.ts';
import { type CopyOptions, copyPart, runCopy } from './copying.ts';
import { GetContent } from './get-content.ts';
import { GetFiles, isSmall } from './get-files.ts';
import { type GetJob, ITSELF, planGet } from './get-plan.ts';
import { hasLocks, type LocalStat } from './local-calls.ts';
import { type FoldingRules, isFolding, NameClashes } from './local-folding.ts';
import { checkTargetName, joinPath, showName } from './local-names.ts';
import type { RestoreOptions } from './local-restore.ts';
import { TargetFolder } from './local-target.ts';
import { KeptTimes } from './local-times.ts';
import { OwnStorage } from './own-storage.ts';
import { eachOnVolume, onVolume, type Tally } from './tally.ts';

export interface GetOptions extends CopyOptions {
  /** Restores owners as well, and what depends on them: see `RestoreOptions`. */
  readonly owner?: boolean | undefined;
  /** Which names count as the same in the target. Default: the file system is asked. */
  readonly folding?: FoldingRules | undefined;
}

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
  const own = new OwnStorage(volume.ownFolders);
  const jobs = await planGet(volume, sources, target, own, tally, options);
  await runCopy(() => new Getter(volume, tally, own, options).run(jobs));
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
}

/** An unfinished file belongs to no running copy if it is not locked and did not change for so long. */
const LEFTOVER_AGE_MS = 5_000;
/** The same on machines where locks cannot be seen. */
const LEFTOVER_AGE_UNSEEN_MS: number = 24 * 60 * 60 * 1000;

class Getter {
  readonly #volume: Volume;
  readonly #own: OwnStorage;
  readonly #tally: Tally;
  readonly #options: GetOptions;
  readonly #restore: RestoreOptions;
  readonly #content: GetContent;
  readonly #files: GetFiles;
  readonly #firstNames = new Map<Id, FirstName>();
  /** Folders of the source that is being copied. */
  readonly #entered = new Set<Id>();
  readonly #signal: AbortSignal | undefined;
  readonly #times = new KeptTimes();

  constructor(volume: Volume, tally: Tally, own: OwnStorage, options: GetOptions) {
    this.#volume = volume;
    this.#own = own;
    this.#tally = tally;
    this.#options = options;
    this.#restore = { owner: options.owner ?? false };
    this.#signal = options.signal;
    this.#content = new GetContent(tally, this.#restore, options.signal);
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
      const target = { root, folders: [], folder: root, device: root.stat.device, rules, isOld: true };
      const clashes = new NameClashes(rules);
      for (const { found, path, name } of jobs) {
        this.#entered.clear();
        await this.#attempt(path, async () => {
          const clash = clashes.add(name);
          if (clash !== undefined) throw clashError(clash);
          await this.#getInode(target, name, path, found.inode, found);
        });
      }
      await this.#files.flush();
    } finally {
      await this.#files.drop();
      this.#times.close();
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
    if (inode.type === 'directory') await this.#getFolder(target, name, path, inode);
    else if (inode.type === 'symlink') this.#getSymlink(target.folder, name, path, inode);
    else await this.#getFile(target, name, path, inode, place);
  }

  async #getFolder(target: Target, name: Name, path: Name, inode: DirectoryInode): Promise<void> {
    if (this.#entered.has(inode.id)) {
      const message = 'this folder was met before: it was moved meanwhile, or the volume is damaged';
      throw new NetsealError('EFORMAT', message);
    }
    this.#entered.add(inode.id);
    const inner = name === ITSELF ? target : this.#enter(target, name);
    try {
      this.#tally.counts.folders += 1;
      await this.#getEntries(inner, path, inode);
    } finally {
      // Files of this folder may still have to be written, which would change its times.
      await this.#files.whenWritten(() => this.#finishFolder(inner, path, inode, inner !== target));
    }
  }

  #enter(target: Target, name: Name): Target {
    const isOld = target.folder.existing(name) !== undefined;
    const folder = target.folder.child(name);
    try {
      const { device } = folder.stat;
      const isSameSystem = device === target.device || this.#options.folding !== undefined;
      const rules = isSameSystem ? target.rules : folder.probeFolding();
      if (isOld) {
        this.#requireForeign(folder);
        this.#removeLeftovers(folder);
      }
      return { root: target.root, folders: [...target.folders, name], folder, device, rules, isOld };
    } catch (error) {
      folder.close();
      throw error;
    }
  }

  /** EINVAL for a folder that netseal itself uses, wherever it is mounted. */
  #requireForeign(folder: TargetFolder): void {
    const what = folder.whatOfOurs(this.#own);
    if (what === undefined) return;
    throw new NetsealError('EINVAL', `cannot write to ${showName(folder.path)}: it belongs to ${what}`);
  }

  /** Removes what an interrupted copy has left in a folder. */
  #removeLeftovers(folder: TargetFolder): void {
    try {
      folder.removeLeftovers(hasLocks() ? LEFTOVER_AGE_MS : LEFTOVER_AGE_UNSEEN_MS);
    } catch {
      // Writing into the folder will tell what is wrong with it.
    }
  }

  #finishFolder({ folder }: Target, path: Name, inode: Inode, closes: boolean): void {
    this.#noting(path, () => {
      try {
        this.#content.noteUnset(path, folder.finishFolder(inode, this.#restore), inode.mtimeNs);
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

  async #getEntries(target: Target, path: Name, inode: Inode): Promise<void> {
    const directory = this.#volume.directoryById(inode.id);
    const { folder, isOld, rules } = target;
    const clashes = new NameClashes(rules, isOld && isFolding(rules) ? folder.names() : []);
    const folders: DirectoryEntry[] = [];
    for await (const entries of eachOnVolume(this.#volume.namespace.entries(directory))) {
      this.#signal?.throwIfAborted();
      for (const entry of entries) {
        const entryPath = joinPath(path, entry.name);
        const clash = clashes.add(entry.name);
        if (clash !== undefined) {
          this.#tally.fail(entryPath, clashError(clash));
        } else if (entry.node.kind === 'object' && entry.node.type === 'directory') {
          // Afterwards: the files of one folder lie together in the store.
          folders.push(entry);
        } else {
          await this.#attempt(entryPath, () => this.#getEntry(target, entry, entryPath, directory));
        }
      }
    }
    for (const entry of folders) {
      this.#signal?.throwIfAborted();
      const entryPath = joinPath(path, entry.name);
      await this.#attempt(entryPath, () => this.#getEntry(target, entry, entryPath, directory));
    }
  }

  async #getEntry(
    target: Target,
    entry: DirectoryEntry,
    path: Name,
    parent: NonNullable<Found['parent']>,
  ): Promise<void> {
    checkTargetName(entry.name);
    const { node } = entry;
    const inode = node.kind === 'embedded' ? node.inode : await onVolume(this.#volume.inodeOf(entry));
    // Another client is removing the folder.
    if (inode.type === 'directory' && inode.isDead) return;
    await this.#getInode(target, entry.name, path, inode, { parent, entry });
  }

  #getSymlink(folder: TargetFolder, name: Name, path: Name, inode: SymlinkInode): void {
    this.#tally.progress(0, 1);
    const existing = folder.replaceable(name);
    const isSame =
      existing?.type === 'symlink' &&
      this.#hasTime(folder, existing, inode) &&
      Buffer.compare(folder.readLink(name), inode.target) === 0;
    if (isSame && this.#hasOwner(existing, inode)) {
      this.#tally.counts.unchanged += 1;
      return;
    }
    const mtimeNs = folder.symlink(name, inode.target, inode, this.#restore);
    const keys = inode.xattrs.map(({ key }) => key);
    this.#content.noteUnset(path, { keys, mtimeNs }, inode.mtimeNs);
    this.#tally.counts.symlinks += 1;
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
    if (existing !== undefined && this.#isKept(folder, name, path, existing, inode)) {
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
  #isKept(folder: TargetFolder, name: Name, path: Name, existing: LocalStat, inode: FileInode): boolean {
    const isSame =
      existing.type === 'file' &&
      existing.sizeBytes === inode.sizeBytes &&
      this.#hasTime(folder, existing, inode);
    if (!isSame) return false;
    const mode = this.#options.owner === true ? inode.mode : inode.mode & 0o1777;
    const hasAttributes = existing.mode === mode && this.#hasOwner(existing, inode);
    // A change in the volume after the file was written here shows in the time of that change.
    if (hasAttributes && (inode.ctimeNs <= existing.ctimeNs || existing.linkCount > 1)) return true;
    const unset = folder.restore(name, existing, inode, this.#restore);
    if (unset !== false) this.#content.noteUnset(path, unset, inode.mtimeNs);
    return unset !== false;
  }

  #hasTime(folder: TargetFolder, { device, mtimeNs }: LocalStat, inode: Inode): boolean {
    return this.#times.isKept(folder, device, mtimeNs, inode.mtimeNs);
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
      if (!isLinked) folder.link(name, from, first.name);
      this.#tally.counts[isLinked ? 'unchanged' : 'links'] += 1;
      this.#tally.progress(sizeBytes, 1);
    } finally {
      from.close();
    }
  }
}

/** What a reader asks for at once, at least. */
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
