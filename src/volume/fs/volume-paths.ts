/**
 * What `volume.fs` does behind a path: lists, makes, removes, changes, copies. Errors have netseal's codes.
 */
import type { PathLike } from 'node:fs';
import { codeOf, NetsealError, requireArgument } from '../../base/errors.ts';
import type { Id } from '../../base/ids.ts';
import type { Attributes, FileInode } from '../../server/sealed/inode.ts';
import type { FileCommitParts } from '../content/file-commits.ts';
import { nameBytes, parsePath } from '../names/name-checks.ts';
import type { Found, Place, PlaceOptions, ResolveOptions } from '../names/path-walk.ts';
import type { VolumeNames } from '../names/volume-names.ts';
import { cloneWith } from '../serving/clone.ts';
import { nowNs } from '../session/session.ts';
import { joinedPath, type Listed, listEntries, removeTree } from './folders.ts';
import { toPath } from './node-values.ts';

/** What it needs of a volume. */
export interface VolumePathsParts {
  readonly commitParts: FileCommitParts;
  readonly names: VolumeNames;
  find(path: string | Uint8Array, options: ResolveOptions): Promise<Found>;
  place(path: string | Uint8Array, options?: PlaceOptions): Promise<Place>;
  newAttributes(mode: number): Attributes;
  requireWritable(): void;
  /** Commits a file that is open, or has changes. */
  commit(id: Id): Promise<void>;
}

export class VolumePaths {
  readonly #parts: VolumePathsParts;

  constructor(parts: VolumePathsParts) {
    this.#parts = parts;
  }

  /** Lists a folder, with `isRecursive` all below it. ENOENT, ENOTDIR. */
  async list(path: Uint8Array, isRecursive: boolean): Promise<Listed[]> {
    const { names } = this.#parts.commitParts;
    const found = await this.#parts.find(path, { follow: true });
    const listed: Listed[] = [];
    for await (const entry of listEntries(names, this.#folderOf(found), isRecursive)) listed.push(entry);
    return listed;
  }

  #folderOf({ inode, parent, entry }: Found): ReturnType<FileCommitParts['inodes']['directory']> {
    const { inodes, session } = this.#parts.commitParts;
    if (inode.type !== 'directory') throw new NetsealError('ENOTDIR', 'this is not a folder');
    if (parent === undefined || entry === undefined) return inodes.directory(session.settings.rootId);
    return inodes.directoryOf(parent, entry);
  }

  /** Makes a folder. EEXIST, ENOENT and ENOTDIR for the path. */
  async makeFolder(path: string | Uint8Array, mode: number): Promise<void> {
    if (parsePath(path).length === 0) throw new NetsealError('EEXIST', 'this is the root of the volume');
    const { directory, name } = givenPlace(await this.#parts.place(path, { forFolder: true }));
    this.#parts.requireWritable();
    const { names } = this.#parts;
    const folder = names.newDirectory(this.#parts.newAttributes(mode), directory.id);
    await orExists(names.insertDirectory(directory, name, folder));
  }

  /** Makes all folders of a path that are missing. Returns the path of the first one. */
  async makeAll(path: string | Uint8Array, mode: number): Promise<string | undefined> {
    const names = parsePath(path);
    let first: string | undefined;
    for (let count = 1; count <= names.length; count += 1) {
      const part = joinedPath(Buffer.from('/'), names.slice(0, count));
      try {
        await this.makeFolder(part, mode);
        first ??= part.toString();
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
        const { inode } = await this.#parts.find(part, { follow: true });
        if (inode.type === 'directory') continue;
        if (count === names.length) throw error;
        throw new NetsealError('ENOTDIR', `this is no folder: ${part}`, { path: part.toString() });
      }
    }
    return first;
  }

  /** Removes a name; with `isRecursive` a folder and all that is in it. ENOENT, EISDIR. */
  async remove(path: string | Uint8Array, isRecursive: boolean): Promise<void> {
    const { names } = this.#parts.commitParts;
    const { directory, name } = await this.#parts.place(path);
    const found = await this.#parts.find(path, { follow: false });
    if (found.inode.type !== 'directory') {
      await this.#parts.names.unlink(directory, nameBytes(name));
      return;
    }
    if (!isRecursive) throw new NetsealError('EISDIR', 'this is a folder: say recursive');
    await names.changing(directory, () => removeTree(names, directory, name, this.#folderOf(found)));
  }

  /** Sets attributes of what a path leads to, or of a link itself. */
  async change(path: PathLike, attributes: Partial<Attributes>, follow: boolean): Promise<void> {
    const found = await this.#parts.find(toPath('path', path), { follow });
    this.#parts.requireWritable();
    const { inode, parent, entry } = found;
    // Commit first: a later commit of what was written would set another time.
    if (inode.type === 'file' && attributes.mtimeNs !== undefined) await this.#parts.commit(inode.id);
    const { names } = this.#parts;
    if (parent === undefined || entry === undefined) {
      await names.setDirectoryAttributes(this.#folderOf(found), attributes);
    } else {
      await names.setAttributes(parent, entry, attributes);
    }
  }

  /** Makes a file that shares what the store has of another. EEXIST unless it may replace; EISDIR, EINVAL. */
  async copy(from: string | Uint8Array, to: string | Uint8Array, replace: boolean): Promise<void> {
    const { commitParts } = this.#parts;
    this.#parts.requireWritable();
    await this.#parts.commit((await this.#file(from)).id);
    const source = await this.#file(from);
    const there = await this.#findOrNone(to);
    if (there !== undefined && !replace) throw new NetsealError('EEXIST', 'it already exists');
    if (there?.inode.type === 'directory') throw new NetsealError('EISDIR', 'this is a folder: name a file');
    if (there?.inode.id === source.id) return;
    const target =
      there?.parent === undefined || there.entry === undefined
        ? await this.#parts.place(to)
        : { directory: there.parent, name: there.entry.name };
    const { sizeBytes } = source;
    const options = { replace, mtimeNs: nowNs(commitParts.session), isBaseLive: true };
    await commitParts.names.changing(target.directory, () =>
      cloneWith(commitParts, source, { sizeBytes, cutBytes: sizeBytes }, new Map(), target, options),
    );
  }

  async #findOrNone(path: string | Uint8Array): Promise<Found | undefined> {
    return await this.#parts.find(path, { follow: true }).catch(error => {
      if (codeOf(error) !== 'ENOENT') throw error;
      return undefined;
    });
  }

  async #file(path: string | Uint8Array): Promise<FileInode> {
    const { inode } = await this.#parts.find(path, { follow: true });
    if (inode.type === 'directory') throw new NetsealError('EISDIR', 'this is a folder: name a file');
    requireArgument(inode.type === 'file', `this is no regular file: ${inode.type}`);
    return inode;
  }
}

/** Returns a place as `VolumeNames` takes it, whatever bytes the name has. */
export function givenPlace({ directory, name }: Place): { directory: Place['directory']; name: Uint8Array } {
  return { directory, name: nameBytes(name) };
}

/** Turns EISDIR into EEXIST: in Node, a folder of that name is in the way like a file. */
export async function orExists(change: Promise<void>): Promise<void> {
  await change.catch(cause => {
    if (codeOf(cause) !== 'EISDIR') throw cause;
    throw new NetsealError('EEXIST', 'a folder has this name', { cause });
  });
}
