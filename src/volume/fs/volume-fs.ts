/**
 * A volume in the shape of `node:fs/promises`: what programs and libraries that take an `fs` can work on. Every call
 * does what Node's does, but for this:
 *
 *   - Paths begin at the root of the volume, with or without a `/`; `..` is EINVAL.
 *   - A file is committed when it is closed: `writeFile` and its like resolve when the store has it.
 *   - Nobody is refused for the sake of permission bits; they are kept.
 *   - `copyFile` shares what the store has, and makes a new file: another of that name is replaced.
 *   - New files have mode 0o644, new folders 0o755, whatever the umask is.
 *
 * Its functions may be taken out of it: `const { readFile } = volume.fs`.
 */
import { type BigIntStats, constants, type PathLike, type Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { requireFlag, requireInteger, requireObject, requireText } from '../../base/arguments.ts';
import { codeOf, NetsealError, requireArgument } from '../../base/errors.ts';
import { type Id, randomId } from '../../base/ids.ts';
import type { FileStatus } from '../../netfs/file.ts';
import type { Attributes, FileInode } from '../../server/sealed/inode.ts';
import type { FileCommitParts } from '../content/file-commits.ts';
import { nameBytes, parsePath } from '../names/name-checks.ts';
import type { Found, Place, PlaceOptions, ResolveOptions } from '../names/path-walk.ts';
import type { VolumeNames } from '../names/volume-names.ts';
import { cloneWith } from '../serving/clone.ts';
import { nowNs } from '../session/session.ts';
import { joinedPath, type Listed, listEntries, removeTree, VolumeDir } from './folders.ts';
import { asNode } from './node-errors.ts';
import { encodingOf, type FileData, signalOf, toMode, toPath, toTimeNs, wantsBytes } from './node-values.ts';
import { BigIntVolumeStats, VolumeDirent, VolumeStats } from './stats.ts';
import type { VolumeFile } from './volume-file.ts';

const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;
const TEMPORARY_MODE = 0o700;
const OWNER_MAX = 0xffff_ffff;
/** How many random characters `mkdtemp` appends. */
const TEMPORARY_CHARACTERS = 6;

/** The functions of `node:fs/promises` that a volume has. */
export type NodeFs = Pick<
  typeof import('node:fs/promises'),
  | 'access'
  | 'appendFile'
  | 'chmod'
  | 'chown'
  | 'constants'
  | 'copyFile'
  | 'lchown'
  | 'link'
  | 'lstat'
  | 'lutimes'
  | 'mkdir'
  | 'mkdtemp'
  | 'open'
  | 'opendir'
  | 'readFile'
  | 'readdir'
  | 'readlink'
  | 'realpath'
  | 'rename'
  | 'rm'
  | 'rmdir'
  | 'stat'
  | 'symlink'
  | 'truncate'
  | 'unlink'
  | 'utimes'
  | 'writeFile'
>;

/** What it needs of a volume. */
export interface VolumeFsParts {
  readonly commitParts: FileCommitParts;
  readonly names: VolumeNames;
  find(path: string | Uint8Array, options: ResolveOptions): Promise<Found>;
  place(path: string | Uint8Array, options?: PlaceOptions): Promise<Place>;
  open(path: string | Uint8Array, flags: unknown, mode: number): Promise<VolumeFile>;
  newAttributes(mode: number): Attributes;
  requireWritable(): void;
  /** What is known of a file that is open, or has changes. */
  statusOf(id: Id): FileStatus | undefined;
  /** Commits such a file. */
  commit(id: Id): Promise<void>;
}

type Encoding = BufferEncoding | null | undefined;
type EncodingOptions = { readonly encoding?: Encoding } | Encoding;
type BytesOption = { readonly encoding: 'buffer' } | 'buffer';
type ListOptions = { readonly encoding?: Encoding; readonly recursive?: boolean | undefined };
type DataOptions =
  | {
      readonly encoding?: Encoding;
      readonly mode?: number | string | undefined;
      readonly flag?: string | number | undefined;
      readonly signal?: AbortSignal | undefined;
    }
  | Encoding;
type ReadOptions = {
  readonly flag?: string | number | undefined;
  readonly signal?: AbortSignal | undefined;
};
type View = NodeJS.ArrayBufferView;
type BufferView<Bytes extends View> =
  Bytes extends NodeJS.ArrayBufferView<infer Memory> ? Buffer<Memory> : never;
type Bytes = Buffer<ArrayBuffer>;
type Time = string | number | Date;

export class VolumeFs implements NodeFs {
  readonly constants: typeof constants = constants;
  readonly #parts: VolumeFsParts;

  /** @internal Made by `Volume` only. */
  constructor(parts: VolumeFsParts) {
    this.#parts = parts;
    for (const name of Object.getOwnPropertyNames(VolumeFs.prototype)) {
      const method: unknown = Reflect.get(this, name);
      if (name === 'constructor' || typeof method !== 'function') continue;
      Object.defineProperty(this, name, { value: method.bind(this), enumerable: true });
    }
  }

  /** Opens a file; see `Volume.open`. */
  async open(path: PathLike, flags: string | number = 'r', mode?: number | string): Promise<VolumeFile> {
    const checked = toPath('path', path);
    const bits = toMode(mode, FILE_MODE);
    return await asNode('open', () => this.#parts.open(checked, flags, bits));
  }

  readFile(
    file: PathLike | FileHandle,
    options?: ({ readonly encoding?: null | undefined } & ReadOptions) | null,
  ): Promise<Bytes>;
  readFile(
    file: PathLike | FileHandle,
    options: ({ readonly encoding: BufferEncoding } & ReadOptions) | BufferEncoding,
  ): Promise<string>;
  readFile<Given extends View>(
    file: PathLike | FileHandle,
    options: { readonly buffer: Given | ((sizeBytes: number) => Given) } & ReadOptions,
  ): Promise<BufferView<Given>>;
  readFile(
    file: PathLike | FileHandle,
    options?: ({ readonly encoding?: Encoding } & ReadOptions) | Encoding,
  ): Promise<string | Bytes>;
  async readFile(
    file: PathLike | FileHandle,
    options?: ({ readonly encoding?: Encoding } & ReadOptions) | Encoding,
  ): Promise<unknown> {
    encodingOf(options);
    signalOf(options);
    if (isHandle(file)) return await file.readFile(options ?? null);
    const opened = await this.open(file, flagOf(options) ?? 'r');
    try {
      return await opened.readFile(options ?? null);
    } finally {
      await opened.leave();
    }
  }

  async writeFile(file: PathLike | FileHandle, data: FileData, options?: DataOptions): Promise<void> {
    await this.#writeFile(file, data, options, 'w');
  }

  async appendFile(file: PathLike | FileHandle, data: FileData, options?: DataOptions): Promise<void> {
    await this.#writeFile(file, data, options, 'a');
  }

  async truncate(path: PathLike, sizeBytes: number = 0): Promise<void> {
    const file = await this.open(path, 'r+');
    try {
      await file.truncate(sizeBytes);
    } catch (error) {
      await file.leave();
      throw error;
    }
    await file.close();
  }

  stat(path: PathLike, options?: { readonly bigint?: false | undefined }): Promise<Stats>;
  stat(path: PathLike, options: { readonly bigint: true }): Promise<BigIntStats>;
  stat(path: PathLike, options?: { readonly bigint?: boolean | undefined }): Promise<Stats | BigIntStats>;
  async stat(
    path: PathLike,
    options?: { readonly bigint?: boolean | undefined },
  ): Promise<Stats | BigIntStats> {
    return await asNode('stat', () => this.#stat(path, options, true));
  }

  lstat(path: PathLike, options?: { readonly bigint?: false | undefined }): Promise<Stats>;
  lstat(path: PathLike, options: { readonly bigint: true }): Promise<BigIntStats>;
  lstat(path: PathLike, options?: { readonly bigint?: boolean | undefined }): Promise<Stats | BigIntStats>;
  async lstat(
    path: PathLike,
    options?: { readonly bigint?: boolean | undefined },
  ): Promise<Stats | BigIntStats> {
    return await asNode('lstat', () => this.#stat(path, options, false));
  }

  /** Resolves when the path leads to something. `X_OK` needs a folder, or a file that somebody may execute. */
  async access(path: PathLike, mode: number = constants.F_OK): Promise<void> {
    const checked = toPath('path', path);
    requireInteger('mode', mode, 0, constants.R_OK | constants.W_OK | constants.X_OK);
    await asNode('access', async () => {
      const { inode } = await this.#parts.find(checked, { follow: true });
      if ((mode & constants.W_OK) !== 0) this.#parts.requireWritable();
      if ((mode & constants.X_OK) === 0 || inode.type === 'directory' || (inode.mode & 0o111) !== 0) return;
      throw new NetsealError('EDENIED', 'nobody may execute the file');
    });
  }

  readdir(
    path: PathLike,
    options?: (ListOptions & { readonly withFileTypes?: false | undefined }) | Encoding,
  ): Promise<string[]>;
  readdir(
    path: PathLike,
    options:
      | {
          readonly encoding: 'buffer';
          readonly recursive?: boolean | undefined;
          readonly withFileTypes?: false | undefined;
        }
      | 'buffer',
  ): Promise<Bytes[]>;
  readdir(
    path: PathLike,
    options?: (ListOptions & { readonly withFileTypes?: false | undefined }) | Encoding,
  ): Promise<string[] | Bytes[]>;
  readdir(path: PathLike, options: ListOptions & { readonly withFileTypes: true }): Promise<VolumeDirent[]>;
  readdir(
    path: PathLike,
    options: {
      readonly encoding: 'buffer';
      readonly recursive?: boolean | undefined;
      readonly withFileTypes: true;
    },
  ): Promise<VolumeDirent<Bytes>[]>;
  async readdir(
    path: PathLike,
    options?: unknown,
  ): Promise<string[] | Bytes[] | VolumeDirent[] | VolumeDirent<Bytes>[]> {
    const isBytes = wantsBytes(options);
    const encoding = encodingOf(options) ?? 'utf8';
    const { recursive, withFileTypes } = listOptionsOf(options);
    const checked = Buffer.from(toPath('path', path));
    return await asNode('scandir', async () => {
      const listed = await this.#list(checked, recursive);
      const text = (bytes: Buffer): string => bytes.toString(encoding);
      if (!withFileTypes) {
        const paths = listed.map(({ names }) => joinedPath(Buffer.alloc(0), names) as Bytes);
        return isBytes ? paths : paths.map(text);
      }
      return isBytes
        ? listed.map(entry => direntOf(entry, checked, bytes => bytes as Bytes))
        : listed.map(entry => direntOf(entry, checked, text));
    });
  }

  /** Opens a folder: its entries as they are now. */
  async opendir(
    path: PathLike,
    options: { readonly encoding?: string | null | undefined; readonly recursive?: boolean | undefined } = {},
  ): Promise<VolumeDir> {
    const encoding = encodingOf(options) ?? 'utf8';
    const { recursive } = listOptionsOf(options);
    const checked = Buffer.from(toPath('path', path));
    return await asNode('opendir', async () => {
      const listed = await this.#list(checked, recursive);
      const entries = listed.map(entry => direntOf(entry, checked, bytes => bytes.toString(encoding)));
      return new VolumeDir(checked.toString(), entries);
    });
  }

  mkdir(
    path: PathLike,
    options: { readonly recursive: true; readonly mode?: number | string | undefined },
  ): Promise<string | undefined>;
  mkdir(
    path: PathLike,
    options?:
      | { readonly recursive?: false | undefined; readonly mode?: number | string | undefined }
      | number
      | string
      | null,
  ): Promise<void>;
  mkdir(
    path: PathLike,
    options?:
      | { readonly recursive?: boolean | undefined; readonly mode?: number | string | undefined }
      | number
      | string
      | null,
  ): Promise<string | undefined>;
  async mkdir(
    path: PathLike,
    options?:
      | { readonly recursive?: boolean | undefined; readonly mode?: number | string | undefined }
      | number
      | string
      | null,
  ): Promise<unknown> {
    const checked = toPath('path', path);
    const given = typeof options === 'object' && options !== null ? options : { mode: options ?? undefined };
    const { recursive, mode } = { recursive: undefined, ...given };
    requireFlag('options.recursive', recursive);
    const bits = toMode(mode, FOLDER_MODE);
    return await asNode('mkdir', async () => {
      if (recursive === true) return await this.#makeAll(checked, bits);
      await this.#makeFolder(checked, bits);
      return undefined;
    });
  }

  mkdtemp(prefix: string, options?: EncodingOptions): Promise<string>;
  mkdtemp(prefix: string, options: BytesOption): Promise<Bytes>;
  mkdtemp(prefix: string, options?: EncodingOptions | BytesOption): Promise<string | Bytes>;
  async mkdtemp(prefix: string, options?: unknown): Promise<string | Bytes> {
    requireText('prefix', prefix);
    const isBytes = wantsBytes(options);
    const encoding = encodingOf(options) ?? 'utf8';
    return await asNode('mkdtemp', async () => {
      for (;;) {
        const path = `${prefix}${randomId().slice(0, TEMPORARY_CHARACTERS)}`;
        try {
          await this.#makeFolder(path, TEMPORARY_MODE);
          return isBytes ? Buffer.from(path) : Buffer.from(path).toString(encoding);
        } catch (error) {
          if (codeOf(error) !== 'EEXIST') throw error;
        }
      }
    });
  }

  async rmdir(path: PathLike): Promise<void> {
    const checked = toPath('path', path);
    await asNode('rmdir', async () => {
      const { directory, name } = await this.#parts.place(checked);
      await this.#parts.names.rmdir(directory, nameBytes(name));
    });
  }

  async unlink(path: PathLike): Promise<void> {
    const checked = toPath('path', path);
    await asNode('unlink', async () => {
      const { directory, name } = await this.#parts.place(checked);
      await this.#parts.names.unlink(directory, nameBytes(name));
    });
  }

  async rm(
    path: PathLike,
    options: { readonly force?: boolean | undefined; readonly recursive?: boolean | undefined } = {},
  ): Promise<void> {
    requireObject('options', options);
    requireFlag('options.force', options.force);
    requireFlag('options.recursive', options.recursive);
    const checked = toPath('path', path);
    await asNode('rm', async () => {
      try {
        await this.#remove(checked, options.recursive === true);
      } catch (error) {
        if (options.force !== true || codeOf(error) !== 'ENOENT') throw error;
      }
    });
  }

  async rename(oldPath: PathLike, newPath: PathLike): Promise<void> {
    const [from, to] = [toPath('oldPath', oldPath), toPath('newPath', newPath)];
    await asNode('rename', async () => {
      const source = await this.#parts.place(from);
      // A folder's new name may end in a slash.
      const target = await this.#parts.place(to, { forFolder: true });
      await this.#parts.names.rename(givenPlace(source), givenPlace(target));
    });
  }

  async link(existingPath: PathLike, newPath: PathLike): Promise<void> {
    const [from, to] = [toPath('existingPath', existingPath), toPath('newPath', newPath)];
    await asNode('link', async () => {
      const source = await this.#parts.place(from);
      const { directory, name } = givenPlace(await this.#parts.place(to));
      await orExists(this.#parts.names.link(givenPlace(source), directory, name));
    });
  }

  async symlink(target: PathLike, path: PathLike, _type?: string | null): Promise<void> {
    const bytes = Buffer.from(toPath('target', target));
    const checked = toPath('path', path);
    await asNode('symlink', async () => {
      const { directory, name } = givenPlace(await this.#parts.place(checked));
      const inode = this.#parts.names.newSymlink(this.#parts.newAttributes(0o777), bytes);
      await orExists(this.#parts.names.insert(directory, name, inode));
    });
  }

  readlink(path: PathLike, options?: EncodingOptions): Promise<string>;
  readlink(path: PathLike, options: BytesOption): Promise<Bytes>;
  readlink(path: PathLike, options?: EncodingOptions | BytesOption | string): Promise<string | Bytes>;
  async readlink(path: PathLike, options?: unknown): Promise<string | Bytes> {
    const isBytes = wantsBytes(options);
    const encoding = encodingOf(options) ?? 'utf8';
    const checked = toPath('path', path);
    return await asNode('readlink', async () => {
      const { inode } = await this.#parts.find(checked, { follow: false });
      requireArgument(inode.type === 'symlink', 'this is no symbolic link');
      const target = Buffer.from(inode.target);
      return isBytes ? target : target.toString(encoding);
    });
  }

  realpath(path: PathLike, options?: EncodingOptions): Promise<string>;
  realpath(path: PathLike, options: BytesOption): Promise<Bytes>;
  realpath(path: PathLike, options?: EncodingOptions | BytesOption): Promise<string | Bytes>;
  async realpath(path: PathLike, options?: unknown): Promise<string | Bytes> {
    const isBytes = wantsBytes(options);
    const encoding = encodingOf(options) ?? 'utf8';
    const checked = toPath('path', path);
    return await asNode('realpath', async () => {
      const { names } = await this.#parts.find(checked, { follow: true });
      const real = joinedPath(Buffer.from('/'), names) as Bytes;
      return isBytes ? real : real.toString(encoding);
    });
  }

  async chmod(path: PathLike, mode: number | string): Promise<void> {
    const bits = toMode(mode);
    await asNode('chmod', () => this.#change(path, { mode: bits }, true));
  }

  async chown(path: PathLike, uid: number, gid: number): Promise<void> {
    await asNode('chown', () => this.#change(path, ownersOf(uid, gid), true));
  }

  async lchown(path: PathLike, uid: number, gid: number): Promise<void> {
    await asNode('lchown', () => this.#change(path, ownersOf(uid, gid), false));
  }

  async utimes(path: PathLike, atime: Time, mtime: Time): Promise<void> {
    const times = { atimeNs: toTimeNs('atime', atime), mtimeNs: toTimeNs('mtime', mtime) };
    await asNode('utime', () => this.#change(path, times, true));
  }

  async lutimes(path: PathLike, atime: Time, mtime: Time): Promise<void> {
    const times = { atimeNs: toTimeNs('atime', atime), mtimeNs: toTimeNs('mtime', mtime) };
    await asNode('lutime', () => this.#change(path, times, false));
  }

  /** Makes a file that shares its content with another: nothing is read, and nothing is written but names. */
  async copyFile(src: PathLike, dest: PathLike, mode: number = 0): Promise<void> {
    const [from, to] = [toPath('src', src), toPath('dest', dest)];
    requireInteger('mode', mode, 0);
    await asNode('copyfile', () => this.#copy(from, to, (mode & constants.COPYFILE_EXCL) === 0));
  }

  async #writeFile(
    file: PathLike | FileHandle,
    data: FileData,
    options: DataOptions,
    byDefault: string,
  ): Promise<void> {
    const how = { encoding: encodingOf(options) ?? 'utf8', signal: signalOf(options) } as const;
    if (isHandle(file)) {
      await file.writeFile(data, how);
      return;
    }
    how.signal?.throwIfAborted();
    const mode = typeof options === 'object' && options !== null ? options.mode : undefined;
    const opened = await this.open(file, flagOf(options) ?? byDefault, mode);
    try {
      await opened.writeFile(data, how);
    } catch (error) {
      await opened.leave();
      throw error;
    }
    await opened.close();
  }

  async #stat(
    path: PathLike,
    options: { readonly bigint?: boolean | undefined } = {},
    follow: boolean,
  ): Promise<Stats | BigIntStats> {
    requireObject('options', options);
    requireFlag('options.bigint', options.bigint);
    const { inode } = await this.#parts.find(toPath('path', path), { follow });
    const now = inode.type === 'file' ? this.#parts.statusOf(inode.id) : undefined;
    return options.bigint === true ? new BigIntVolumeStats(inode, now) : new VolumeStats(inode, now);
  }

  async #list(path: Uint8Array, isRecursive: boolean): Promise<Listed[]> {
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

  async #makeFolder(path: string | Uint8Array, mode: number): Promise<void> {
    if (parsePath(path).length === 0) throw new NetsealError('EEXIST', 'this is the root of the volume');
    const { directory, name } = givenPlace(await this.#parts.place(path, { forFolder: true }));
    this.#parts.requireWritable();
    const { names } = this.#parts;
    const folder = names.newDirectory(this.#parts.newAttributes(mode), directory.id);
    await orExists(names.insertDirectory(directory, name, folder));
  }

  /** Makes all folders of a path that are missing. Returns the path of the first one. */
  async #makeAll(path: string | Uint8Array, mode: number): Promise<string | undefined> {
    const names = parsePath(path);
    let first: string | undefined;
    for (let count = 1; count <= names.length; count += 1) {
      const part = joinedPath(Buffer.from('/'), names.slice(0, count));
      try {
        await this.#makeFolder(part, mode);
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

  async #remove(path: string | Uint8Array, isRecursive: boolean): Promise<void> {
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

  async #change(path: PathLike, attributes: Partial<Attributes>, follow: boolean): Promise<void> {
    const found = await this.#parts.find(toPath('path', path), { follow });
    this.#parts.requireWritable();
    const { inode, parent, entry } = found;
    // A later commit of what was written would have a time of its own.
    if (inode.type === 'file' && attributes.mtimeNs !== undefined) await this.#parts.commit(inode.id);
    const { names } = this.#parts;
    if (parent === undefined || entry === undefined) {
      await names.setDirectoryAttributes(this.#folderOf(found), attributes);
    } else {
      await names.setAttributes(parent, entry, attributes);
    }
  }

  async #copy(from: string | Uint8Array, to: string | Uint8Array, replace: boolean): Promise<void> {
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

function isHandle(file: PathLike | FileHandle): file is FileHandle {
  return typeof file === 'object' && 'readFile' in file && 'writeFile' in file;
}

function flagOf(options: unknown): string | number | undefined {
  if (typeof options !== 'object' || options === null || !('flag' in options)) return undefined;
  const { flag } = options;
  return typeof flag === 'string' || typeof flag === 'number' ? flag : undefined;
}

function listOptionsOf(options: unknown): { readonly recursive: boolean; readonly withFileTypes: boolean } {
  if (typeof options !== 'object' || options === null) return { recursive: false, withFileTypes: false };
  const { recursive, withFileTypes }: { recursive?: unknown; withFileTypes?: unknown } = options;
  requireFlag('options.recursive', recursive);
  requireFlag('options.withFileTypes', withFileTypes);
  return { recursive: recursive === true, withFileTypes: withFileTypes === true };
}

function direntOf<Name extends string | Buffer>(
  { names, type }: Listed,
  folder: Uint8Array,
  decode: (name: Buffer) => Name,
): VolumeDirent<Name> {
  const parentPath = joinedPath(folder, names.slice(0, -1)).toString();
  return new VolumeDirent(decode(nameBytes(names.at(-1) ?? '')), parentPath, type);
}

function ownersOf(uid: number, gid: number): { readonly uid: number; readonly gid: number } {
  requireInteger('uid', uid, 0, OWNER_MAX);
  requireInteger('gid', gid, 0, OWNER_MAX);
  return { uid, gid };
}

/** Returns a place as `VolumeNames` takes it, whatever bytes the name has. */
function givenPlace({ directory, name }: Place): { directory: Place['directory']; name: Uint8Array } {
  return { directory, name: nameBytes(name) };
}

/** In Node, a folder that has the name is as much in the way as a file. */
async function orExists(change: Promise<void>): Promise<void> {
  await change.catch(cause => {
    if (codeOf(cause) !== 'EISDIR') throw cause;
    throw new NetsealError('EEXIST', 'a folder has this name', { cause });
  });
}
