/**
 * A volume in the shape of `node:fs/promises`: what programs and libraries that take an `fs` can work on.
 * Every call does what Node's does, but for this:
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
import { nameBytes } from '../names/name-checks.ts';
import { joinedPath, type Listed, VolumeDir } from './folders.ts';
import { asNode } from './node-errors.ts';
import type {
  BufferView,
  Bytes,
  BytesOption,
  DataOptions,
  Encoding,
  EncodingOptions,
  ListOptions,
  NodeFs,
  ReadOptions,
  Time,
  View,
} from './node-types.ts';
import {
  encodingOf,
  type FileData,
  signalOf,
  toMode,
  toOwners,
  toPath,
  toTimes,
  wantsBytes,
} from './node-values.ts';
import { BigIntVolumeStats, VolumeDirent, VolumeStats } from './stats.ts';
import type { VolumeFile } from './volume-file.ts';
import { givenPlace, orExists, VolumePaths, type VolumePathsParts } from './volume-paths.ts';

const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;
const TEMPORARY_MODE = 0o700;
/** How many random characters `mkdtemp` appends. */
const TEMPORARY_CHARACTERS = 6;

/** What it needs of a volume. */
export interface VolumeFsParts extends VolumePathsParts {
  open(path: string | Uint8Array, flags: unknown, mode: number): Promise<VolumeFile>;
  /** What is known of a file that is open, or has changes. */
  statusOf(id: Id): FileStatus | undefined;
}

export class VolumeFs implements NodeFs {
  readonly constants: typeof constants = constants;
  readonly #parts: VolumeFsParts;
  readonly #paths: VolumePaths;

  /** @internal Made by `Volume` only. */
  constructor(parts: VolumeFsParts) {
    this.#parts = parts;
    this.#paths = new VolumePaths(parts);
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

  /**
   * Resolves when the path leads to something. `X_OK` needs a folder, or a file that somebody may execute.
   */
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
      const listed = await this.#paths.list(checked, recursive);
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
      const listed = await this.#paths.list(checked, recursive);
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
      if (recursive === true) return await this.#paths.makeAll(checked, bits);
      await this.#paths.makeFolder(checked, bits);
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
          await this.#paths.makeFolder(path, TEMPORARY_MODE);
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
        await this.#paths.remove(checked, options.recursive === true);
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
    await asNode('chmod', () => this.#paths.change(path, { mode: bits }, true));
  }

  async chown(path: PathLike, uid: number, gid: number): Promise<void> {
    await asNode('chown', () => this.#paths.change(path, toOwners(uid, gid), true));
  }

  async lchown(path: PathLike, uid: number, gid: number): Promise<void> {
    await asNode('lchown', () => this.#paths.change(path, toOwners(uid, gid), false));
  }

  async utimes(path: PathLike, atime: Time, mtime: Time): Promise<void> {
    const times = toTimes(atime, mtime);
    await asNode('utime', () => this.#paths.change(path, times, true));
  }

  async lutimes(path: PathLike, atime: Time, mtime: Time): Promise<void> {
    const times = toTimes(atime, mtime);
    await asNode('lutime', () => this.#paths.change(path, times, false));
  }

  /** Makes a file that shares its content with another: nothing is read, and nothing is written but names. */
  async copyFile(src: PathLike, dest: PathLike, mode: number = 0): Promise<void> {
    const [from, to] = [toPath('src', src), toPath('dest', dest)];
    requireInteger('mode', mode, 0);
    await asNode('copyfile', () => this.#paths.copy(from, to, (mode & constants.COPYFILE_EXCL) === 0));
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
