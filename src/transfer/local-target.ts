/**
 * The local side of `get`: fills folders, each through its own descriptor. So no name, symbolic link or race
 * leads out of the folder that the user named.
 *
 * Files and links are made under a temporary name. When they are whole, they replace whatever has their name.
 */
import * as fs from 'node:fs';
import { NetsealError, systemCodeOf } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { Attributes, DeviceInode, PipeInode } from '../server/sealed/inode.ts';
import { isDevice } from '../server/sealed/inode-body.ts';
import { nameBytes, toBytesName } from '../volume/names/name-checks.ts';
import type { Begun } from '../volume/state/get-journal.ts';
import {
  changeModeAt,
  changeOwnerAt,
  FolderHandle,
  isSpecial,
  LOOK_FLAGS,
  type LocalStat,
  linkAt,
  lookAt,
  makeDeviceAt,
  makeFifoAt,
  makeFolderAt,
  namesIn,
  openAt,
  readLinkAt,
  removeFolderAt,
  renameAt,
  setTimesAt,
  statAt,
  statOf,
  symlinkAt,
  unlinkAt,
} from './local-calls.ts';
import { localError } from './local-errors.ts';
import { type FoldingRules, probeFolding } from './local-folding.ts';
import { checkTargetName, joinPath, partialName, showName } from './local-names.ts';
import {
  isSameTime,
  modeToMakeWith,
  type ProvenTimes,
  type RestoreOptions,
  restoreAttributes,
  restoredMode,
  type Unset,
} from './local-restore.ts';
import { PRIVATE_MODE, syncFolder } from './local-rights.ts';
import { LocalFile } from './local-source.ts';
import { type BegunFile, TargetFile, type TargetFileOptions } from './local-target-file.ts';
import { openBegun, removeIfThere, removeLeftovers } from './local-unfinished.ts';
import { ACCESS_LIST_KEY, DEFAULT_LIST_KEY, removeAttribute } from './local-xattrs.ts';
import type { OwnStorage } from './own-storage.ts';

const OWNER_ALL = 0o700;
const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants;
const CREATE_FLAGS = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;

/** What is known of a folder that {@link TargetFolder.child} made. */
interface MadeFolder {
  readonly device: number;
  /** It has no access control list itself. */
  readonly hasNoLists: boolean;
  /** What is made in it inherits no access control list. */
  readonly givesNoLists: boolean;
  /** Permission bits that this process's new files do not get. */
  readonly umask: number;
}

/** An open folder that is being filled. It has one descriptor; the caller closes it. */
export class TargetFolder {
  readonly #handle: FolderHandle;
  /** The mode that is restored at the end, unless another is set. */
  #modeToRestore: number | undefined;
  /**
   * Set when {@link child} made the folder. Then only this copy has put anything into it, and until {@link
   * finishFolder} nobody but its owner can reach what is in it.
   */
  readonly #made: MadeFolder | undefined;

  private constructor(handle: FolderHandle, modeToRestore?: number, made?: MadeFolder) {
    this.#handle = handle;
    this.#modeToRestore = modeToRestore;
    this.#made = made;
  }

  /**
   * Opens the folder that the user named; a symbolic link at the path's end is followed. ENOENT, ENOTDIR,
   * EDENIED.
   */
  static open(path: string | Uint8Array): TargetFolder {
    const name = toBytesName(path);
    return new TargetFolder(writing(name, () => FolderHandle.openToWrite(name)));
  }

  /**
   * As {@link open}, for a folder that is to be filled. It is made writable for its owner, and gets its mode
   * back in {@link finishFolder}.
   */
  static openToFill(path: string | Uint8Array): TargetFolder {
    const name = toBytesName(path);
    return writing(name, () => TargetFolder.#fillable(FolderHandle.open(name)));
  }

  /**
   * Makes the folder that the user named, unless it is there, and opens it. ENOENT when its own folder is
   * missing.
   */
  static create(path: string | Uint8Array): TargetFolder {
    const name = toBytesName(path);
    writing(name, () => {
      try {
        fs.mkdirSync(nameBytes(name), 0o777);
      } catch (error) {
        if (systemCodeOf(error) !== 'EEXIST') throw error;
      }
    });
    return TargetFolder.open(path);
  }

  /** The path as the user named it, with the names below. */
  get path(): Name {
    return this.#handle.path;
  }

  /** The number of the file system that it lies on. */
  get device(): number {
    return this.#made?.device ?? this.stat.device;
  }

  get stat(): LocalStat {
    return writing(this.path, () => statOf(this.#handle.fd));
  }

  /** Says what the folder holds if netseal itself uses it; see {@link OwnStorage.whatIs}. */
  whatOfOurs(own: OwnStorage): string | undefined {
    return writing(this.path, () => own.whatIs(this.#handle));
  }

  /** Returns all names, ascending. */
  names(): Name[] {
    return writing(this.path, () => namesIn(this.#handle)).sort();
  }

  /**
   * Finds out which names count as the same here, by writing a file and removing it. Ask once. EDENIED,
   * EFULL.
   */
  probeFolding(): FoldingRules {
    return writing(this.path, () => probeFolding(this.#handle));
  }

  /**
   * Returns the status of the entry of this name; links are not followed. Undefined when there is none, and
   * always in a folder that {@link child} made, because only this copy writes there.
   */
  existing(name: Name): LocalStat | undefined {
    if (this.#made !== undefined) return undefined;
    return this.#writing(name, () => lookAt(this.#handle, name));
  }

  /**
   * Opens the folder of this name, and makes it if nothing has the name. A new folder is open only to its
   * owner until `finishFolder`. ENOTDIR when something else has the name, also a symbolic link to a folder.
   * The caller closes it.
   */
  child(name: Name): TargetFolder {
    checkTargetName(name);
    return this.#writing(name, () => {
      let isMade = true;
      try {
        makeFolderAt(this.#handle, name, OWNER_ALL);
      } catch (error) {
        if (systemCodeOf(error) !== 'EEXIST') throw error;
        isMade = false;
      }
      const handle = this.#handle.child(name);
      return isMade ? this.#newChild(handle) : TargetFolder.#fillable(handle);
    });
  }

  /**
   * Opens the folder of this name. ENOENT when there is none, ENOTDIR when something else has the name. The
   * caller closes it.
   */
  existingChild(name: Name): TargetFolder {
    checkTargetName(name);
    return this.#writing(name, () => TargetFolder.#fillable(this.#handle.child(name)));
  }

  /**
   * Opens the folder that these names lead to from this one. Errors are those of {@link existingChild}. The
   * caller closes it.
   */
  descend(names: readonly Name[]): TargetFolder {
    let folder = this.#writing('.', () => new TargetFolder(this.#handle.reopen()));
    for (const name of names) {
      const above = folder;
      try {
        folder = above.existingChild(name);
      } finally {
        above.close();
      }
    }
    return folder;
  }

  /**
   * Begins a file. Whatever has its name now stays until `TargetFile.finish`. EISDIR or EEXIST when that
   * cannot be replaced, see {@link requireReplaceable}.
   */
  createFile(name: Name, options: Omit<TargetFileOptions, 'made'> = {}): TargetFile {
    checkTargetName(name);
    this.replaceable(name);
    return new TargetFile(this.#handle, name, () => this.replaceable(name), options);
  }

  /**
   * As {@link createFile}, for a small file that is written and finished at once. In a folder that this copy
   * has made, the file gets its mode at once where possible. Whether it can replace what has the name is
   * checked only by `TargetFile.finish`.
   *
   * @param attributes what `finish` will set.
   */
  createSmallFile(name: Name, attributes: Attributes, options: RestoreOptions): TargetFile {
    checkTargetName(name);
    const folder = this.#made;
    const isPrivate = folder?.givesNoLists === true;
    const mode = isPrivate ? modeToMakeWith(attributes, options, folder.umask) : undefined;
    const made = isPrivate ? { mode, hasNoLists: true, device: folder.device } : undefined;
    return new TargetFile(this.#handle, name, () => this.replaceable(name), { made });
  }

  /**
   * See {@link openBegun}. The caller gives the file to {@link createFile} or {@link dropBegun}.
   */
  openBegun(begun: Begun): BegunFile | undefined {
    return this.#writing(begun.unfinished.name, () => openBegun(this.#handle, begun));
  }

  /** Removes what {@link openBegun} has opened. */
  dropBegun({ name, fd }: BegunFile): void {
    removeIfThere(this.#handle, name);
    fs.closeSync(fd);
  }

  /** As {@link existing}. EISDIR, EEXIST: it cannot be replaced, see {@link requireReplaceable}. */
  replaceable(name: Name): LocalStat | undefined {
    const existing = this.existing(name);
    requireReplaceable(existing, joinPath(this.path, name));
    return existing;
  }

  /**
   * Makes an empty file without a name, to try out what this file system keeps. The caller closes the
   * descriptor.
   */
  createNameless(): number {
    const partial = partialName();
    return this.#writing(partial, () => {
      const fd = openAt(this.#handle, partial, CREATE_FLAGS, PRIVATE_MODE);
      removeIfThere(this.#handle, partial);
      return fd;
    });
  }

  /**
   * Changes the attributes of an existing file in place. Returns false when the file has to be written anew:
   * it is not the one that `existing` describes, it has other names (which may lie anywhere), or it may not
   * be opened.
   */
  restore(name: Name, existing: LocalStat, attributes: Attributes, options: RestoreOptions): Unset | false {
    return this.#writing(name, () => {
      let fd: number;
      try {
        fd = openAt(this.#handle, name, LOOK_FLAGS);
      } catch {
        return false;
      }
      try {
        const { device, inode, type, linkCount } = statOf(fd);
        const isIt = device === existing.device && inode === existing.inode && type === 'file';
        return isIt && linkCount === 1 && restoreAttributes(fd, attributes, options);
      } finally {
        fs.closeSync(fd);
      }
    });
  }

  /** Returns the target of a symbolic link. */
  readLink(name: Name): Uint8Array<ArrayBuffer> {
    return this.#writing(name, () => readLinkAt(this.#handle, name));
  }

  /**
   * Makes a symbolic link. It replaces a file or a link, nothing else (EISDIR, EEXIST). Returns the time that
   * the link has if its own could not be set to the microsecond, else undefined.
   */
  symlink(
    name: Name,
    target: Uint8Array,
    attributes: Attributes,
    { owner = false }: RestoreOptions = {},
  ): bigint | undefined {
    if (target.byteLength === 0 || target.includes(0))
      throw new NetsealError(
        'EINVAL',
        `no symbolic link can lead there: ${showName(joinPath(this.path, name))}`,
      );
    let mtimeNs: bigint | undefined;
    this.#replace(name, partial => {
      symlinkAt(target, this.#handle, partial);
      if (owner) changeOwnerAt(this.#handle, partial, attributes.uid, attributes.gid);
      mtimeNs = this.#setTimesAt(partial, attributes);
    });
    return mtimeNs;
  }

  /**
   * Makes a FIFO or a device. It replaces a file or a link, nothing else (EISDIR, EEXIST). Returns as {@link
   * symlink}. EDENIED for a device, unless the process may make one; EUNSUPPORTED for a socket, and where the
   * machine lacks the call.
   */
  special(name: Name, inode: PipeInode | DeviceInode, options: RestoreOptions = {}): bigint | undefined {
    let mtimeNs: bigint | undefined;
    this.#replace(name, partial => {
      if (inode.type === 'fifo') makeFifoAt(this.#handle, partial, PRIVATE_MODE);
      else if (isDevice(inode)) makeDeviceAt(this.#handle, partial, inode.type, PRIVATE_MODE, inode);
      else throw new NetsealError('EUNSUPPORTED', 'a socket: only the program that serves it can make it');
      mtimeNs = this.#restoreAt(partial, inode, options);
    });
    return mtimeNs;
  }

  /** Changes the attributes of a FIFO or device in place. Returns as {@link symlink}. */
  restoreSpecial(name: Name, attributes: Attributes, options: RestoreOptions = {}): bigint | undefined {
    checkTargetName(name);
    return this.#writing(name, () => this.#restoreAt(name, attributes, options));
  }

  /** Makes a hard link to an existing file. It replaces a file or a link, nothing else (EISDIR, EEXIST). */
  link(name: Name, fromFolder: TargetFolder, fromName: Name): void {
    checkTargetName(fromName);
    this.#replace(name, partial => linkAt(fromFolder.#handle, fromName, this.#handle, partial));
  }

  /** Removes a file or a link of this name. EISDIR for a folder. */
  remove(name: Name): void {
    checkTargetName(name);
    this.#writing(name, () => unlinkAt(this.#handle, name));
  }

  /** Removes an empty folder of this name. ENOTEMPTY comes as EIO. */
  removeFolder(name: Name): void {
    checkTargetName(name);
    this.#writing(name, () => removeFolderAt(this.#handle, name));
  }

  /** Opens an ordinary file to read it; the caller closes it. EINVAL for anything else. */
  openFile(name: Name): LocalFile {
    const path = joinPath(this.path, name);
    return LocalFile.from(
      writing(path, () => openAt(this.#handle, name, LOOK_FLAGS)),
      path,
    );
  }

  /**
   * Sets the folder's own mode, owner and times. Call it when everything is in it. Returns what could not be
   * set. A folder that was here before keeps its default access list, unless owners are restored.
   */
  finishFolder(attributes: Attributes, options: RestoreOptions = {}, times?: ProvenTimes): Unset {
    return writing(this.path, () => {
      const removesDefaultList = this.#made !== undefined || options.owner === true;
      const made = this.#made === undefined ? undefined : { ...this.#made, mode: undefined };
      const settings = { ...options, removesDefaultList, made, times };
      const unset = restoreAttributes(this.#handle.fd, attributes, settings);
      this.#modeToRestore = undefined;
      return unset;
    });
  }

  /** See {@link removeLeftovers}. A folder that {@link child} made has none. */
  removeLeftovers(minAgeMs = 0): number {
    if (this.#made !== undefined) return 0;
    return writing(this.path, () => removeLeftovers(this.#handle, minAgeMs));
  }

  /** Syncs the folder: resolves when its names are on the disk, or when the system does not sync folders. */
  async sync(): Promise<void> {
    try {
      await syncFolder(this.#handle.fd);
    } catch (error) {
      throw localError('write', this.path, error);
    }
  }

  close(): void {
    if (this.#modeToRestore !== undefined) {
      fs.fchmodSync(this.#handle.fd, this.#modeToRestore);
      this.#modeToRestore = undefined;
    }
    this.#handle.close();
  }

  /** As {@link existingChild}, but without making the folder writable. For looking into it only. */
  peek(name: Name): TargetFolder {
    checkTargetName(name);
    return this.#writing(name, () => new TargetFolder(this.#handle.child(name)));
  }

  /** Makes the folder writable for its owner. A mode that forbids that is restored at the end. */
  static #fillable(handle: FolderHandle, made?: Omit<MadeFolder, 'device'>): TargetFolder {
    try {
      const { mode, uid, device } = statOf(handle.fd);
      const known = made === undefined ? undefined : { ...made, device };
      const isOurs = uid === process.geteuid?.();
      if ((mode & OWNER_ALL) === OWNER_ALL || !isOurs) return new TargetFolder(handle, undefined, known);
      fs.fchmodSync(handle.fd, mode | OWNER_ALL);
      return new TargetFolder(handle, mode, known);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /**
   * Returns the folder that was just made in this one. In a folder that this copy has made, the new one needs
   * no look at its mode and lists: nobody but root could have changed them.
   */
  #newChild(handle: FolderHandle): TargetFolder {
    const above = this.#made;
    if (above?.givesNoLists === true && (above.umask & OWNER_ALL) === 0)
      return new TargetFolder(handle, undefined, { ...above, hasNoLists: true });
    // Without this, files would inherit the list, and each file would have to be checked for one.
    const givesNoLists = removeAttribute(handle.fd, DEFAULT_LIST_KEY);
    const umask = above?.umask ?? process.umask();
    return TargetFolder.#fillable(handle, { hasNoLists: false, givesNoLists, umask });
  }

  #restoreAt(name: Name, attributes: Attributes, { owner = false }: RestoreOptions): bigint | undefined {
    if (owner) changeOwnerAt(this.#handle, name, attributes.uid, attributes.gid);
    changeModeAt(this.#handle, name, restoredMode(attributes, owner, [ACCESS_LIST_KEY]));
    return this.#setTimesAt(name, attributes);
  }

  #setTimesAt(name: Name, wanted: Attributes): bigint | undefined {
    try {
      setTimesAt(this.#handle, name, wanted);
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error;
    }
    const { mtimeNs } = statAt(this.#handle, name);
    return isSameTime(mtimeNs, wanted.mtimeNs) ? undefined : mtimeNs;
  }

  /** Has `make` make something under a temporary name, then renames it. */
  #replace(name: Name, make: (partial: Name) => void): void {
    checkTargetName(name);
    this.replaceable(name);
    const partial = partialName();
    this.#writing(name, () => {
      try {
        make(partial);
        renameAt(this.#handle, partial, name);
      } finally {
        // The temporary name is left after a failure. It is also left when both names are links to one file,
        // because renaming does nothing then.
        removeIfThere(this.#handle, partial);
      }
    });
  }

  #writing<Result>(name: Name, action: () => Result): Result {
    return writing(joinPath(this.path, name), action);
  }
}

/**
 * Throws unless a file or a symbolic link has the name, or nothing: EISDIR for a folder, EEXIST for a device,
 * pipe or socket. A user who names one of those wants to write to it, which `get` does not do.
 */
export function requireReplaceable(existing: LocalStat | undefined, path: Name): void {
  if (existing?.type === 'folder')
    throw new NetsealError('EISDIR', `a folder of this name is there: remove ${showName(path)} first`);
  if (existing !== undefined && isSpecial(existing.type)) {
    throw new NetsealError('EEXIST', `${showName(path)} is a device, pipe or socket: it is not replaced`);
  }
}

function writing<Result>(path: Name, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw localError('write', path, error);
  }
}
