/**
 * Access to the files in a cache's folder: the only code of the cache, besides SQLite and the lock, that
 * calls the file system. Tests replace it to make short writes, failures and power cuts. Paths are relative
 * to the cache's folder, with `/`.
 */
import {
  close,
  constants,
  fdatasync,
  fstat,
  fsync,
  ftruncate,
  open,
  read,
  readdir,
  readSync,
  rename,
  statfs,
  statSync,
  unlink,
  writev,
} from 'node:fs';
import { promisify } from 'node:util';
import { systemCodeOf } from '../../base/errors.ts';
import { makeFolders } from '../../system/folders.ts';

export interface CacheFile {
  /**
   * Reads at `position` into `into`, and returns how many bytes it read: perhaps fewer than fit, 0 at the end
   * of the file.
   */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Reads like {@link read}, but blocks this thread. For bytes that are most likely in the page cache. */
  readNow(into: Uint8Array, position: number): number;
  /**
   * Writes the parts one after another at `position`, and returns how many bytes it wrote: perhaps fewer than
   * all.
   */
  write(parts: readonly Uint8Array[], position: number): Promise<number>;
  /**
   * Waits until everything written so far, and the length, is on the disk. ENOENT when the file was removed:
   * its bytes will be lost.
   */
  sync(): Promise<void>;
  truncate(lengthBytes: number): Promise<void>;
  size(): Promise<number>;
  /** Closes the file. Calling it again does nothing. Never rejects. */
  close(): Promise<void>;
  /** The file descriptor, for other threads of this process; -1 when there is none. */
  readonly descriptor: number;
}

export type OpenMode =
  /** An existing file, to be read. */
  | 'read'
  /** An existing file, to be read and written. */
  | 'write'
  /** A new file. One that is there is emptied. */
  | 'create';

/** Space of the file system, as far as the user of this process may use it. */
export interface DiskSpace {
  readonly blockCount: number;
  readonly blocksAvailable: number;
  /** 0 where the file system does not count files. */
  readonly fileCount: number;
  readonly filesAvailable: number;
}

/** All methods reject with system errors as they come. */
export interface CacheFiles {
  open(path: string, mode: OpenMode): Promise<CacheFile>;
  /** Lists the names in a folder, in no order. */
  list(folder: string): Promise<string[]>;
  /** Makes a folder and its parents, if it is not there. `''` is the cache's folder. */
  makeFolder(folder: string): Promise<void>;
  /** Renames a file, and replaces one that is at `to`. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file, if it is there. */
  remove(path: string): Promise<void>;
  /** Waits until the names in a folder are on the disk. */
  syncFolder(folder: string): Promise<void>;
  space(): Promise<DiskSpace>;
  /** Returns the system path at which SQLite keeps a database of this name. */
  databasePath(name: string): string;
}

const openAsync = promisify(open);
const readdirAsync = promisify(readdir);
const renameAsync = promisify(rename);
const unlinkAsync = promisify(unlink);
const statfsAsync = promisify(statfs);
const fsyncAsync = promisify(fsync);
const fdatasyncAsync = promisify(fdatasync);
const ftruncateAsync = promisify(ftruncate);
const fstatAsync = promisify(fstat);
const closeAsync = promisify(close);

const { O_RDONLY, O_RDWR, O_CREAT, O_TRUNC, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Follows no symbolic links and waits for no pipes, should someone have put any into the folder. */
const NOTHING_SPECIAL = O_NOFOLLOW | O_NONBLOCK;
const FLAGS: Record<OpenMode, number> = {
  read: O_RDONLY | NOTHING_SPECIAL,
  write: O_RDWR | NOTHING_SPECIAL,
  create: O_RDWR | O_CREAT | O_TRUNC | NOTHING_SPECIAL,
};

/**
 * Returns device and inode number of the file at a system path. Undefined when there is none, or it cannot be
 * seen.
 */
export function fileIdentity(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}/${ino}`;
  } catch {
    return undefined;
  }
}

/** Returns the real files below `root`. New files and folders are accessible to this user only. */
export function systemFiles(root: string): CacheFiles {
  const at = (path: string): string => (path === '' ? root : `${root}/${path}`);
  return {
    open: async (path, mode) => new SystemFile(await openAsync(at(path), FLAGS[mode], 0o600)),
    list: folder => readdirAsync(at(folder)),
    makeFolder: async folder => {
      await makeFolders(at(folder), 0o700);
    },
    rename: (from, to) => renameAsync(at(from), at(to)),
    remove: async path => {
      try {
        await unlinkAsync(at(path));
      } catch (error) {
        if (systemCodeOf(error) !== 'ENOENT') throw error;
      }
    },
    syncFolder: async folder => {
      const descriptor = await openAsync(at(folder), O_RDONLY);
      await fsyncAsync(descriptor).finally(() => closeAsync(descriptor));
    },
    space: async () => {
      const stats = await statfsAsync(root);
      return {
        blockCount: stats.blocks,
        blocksAvailable: stats.bavail,
        fileCount: stats.files,
        filesAvailable: stats.ffree,
      };
    },
    databasePath: name => at(name),
  };
}

class SystemFile implements CacheFile {
  #descriptor: number;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  get descriptor(): number {
    return this.#descriptor;
  }

  read(into: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.#descriptor, into, 0, into.byteLength, position, (error, count) => {
        if (error === null) resolve(count);
        else reject(error);
      });
    });
  }

  readNow(into: Uint8Array, position: number): number {
    return readSync(this.#descriptor, into, 0, into.byteLength, position);
  }

  write(parts: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      writev(this.#descriptor, parts as Uint8Array[], position, (error, count) => {
        if (error === null) resolve(count);
        else reject(error);
      });
    });
  }

  async sync(): Promise<void> {
    await fdatasyncAsync(this.#descriptor);
    const { nlink } = await fstatAsync(this.#descriptor);
    if (nlink === 0) throw new RemovedFileError('a file of the cache was removed while it was written');
  }

  async truncate(lengthBytes: number): Promise<void> {
    await ftruncateAsync(this.#descriptor, lengthBytes);
  }

  async size(): Promise<number> {
    return (await fstatAsync(this.#descriptor)).size;
  }

  async close(): Promise<void> {
    const descriptor = this.#descriptor;
    if (descriptor < 0) return;
    this.#descriptor = -1;
    await closeAsync(descriptor).catch(() => undefined);
  }
}

/** Says that an open file was removed: its bytes are lost when it is closed. */
class RemovedFileError extends Error {
  readonly code = 'ENOENT';
}

/** Says that a file is too short, or that writes to it make no progress. */
export class ShortFileError extends Error {
  readonly code = 'EIO';
}

/**
 * Reads until `into` is full. {@link ShortFileError} when the file ends before that; system errors as they
 * come.
 */
export async function readFully(file: CacheFile, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.byteLength; ) {
    const count = await file.read(done === 0 ? into : into.subarray(done), position + done);
    if (count === 0) throw new ShortFileError('a file of the cache is cut short');
    done += count;
  }
}

/**
 * The longest single write. Longer ones took Linux 6.18 four times as long per byte, as it then allocates
 * larger pieces of the page cache.
 */
export const WRITE_BYTES_MAX: number = 2 * 1024 * 1024;

/** Writes all parts, in as many writes as the system needs. */
export async function writeFully(
  file: CacheFile,
  parts: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = parts;
  let at = position;
  let idle = 0;
  while (rest.length > 0) {
    const count = await file.write(rest, at);
    idle = count === 0 ? idle + 1 : 0;
    if (idle > 3) throw new ShortFileError('the system writes nothing and gives no reason');
    at += count;
    rest = skip(rest, count);
  }
}

/** Returns the parts without their first `count` bytes. */
function skip(parts: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let left = count;
  for (const [index, part] of parts.entries()) {
    if (left < part.byteLength) return [part.subarray(left), ...parts.slice(index + 1)];
    left -= part.byteLength;
  }
  return [];
}

/** Replaces a small file at once: writes another, syncs it, and renames it. */
export async function replaceFile(files: CacheFiles, path: string, bytes: Uint8Array): Promise<void> {
  const aside = `${path}.new`;
  const file = await files.open(aside, 'create');
  try {
    await writeFully(file, [bytes], 0);
    await file.sync();
  } finally {
    await file.close();
  }
  await files.rename(aside, path);
  await files.syncFolder('');
}

/** Reads a small file. Undefined when there is none. At most its first `bytesMax` bytes are read. */
export async function readWhole(
  files: CacheFiles,
  path: string,
  bytesMax: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  let file: CacheFile;
  try {
    file = await files.open(path, 'read');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const bytes = new Uint8Array(Math.min(bytesMax, await file.size()));
    await readFully(file, bytes, 0);
    return bytes;
  } finally {
    await file.close();
  }
}

/**
 * Removes a file that does not belong to the cache, or nothing where a folder has that name. System errors as
 * they come.
 */
export async function removeStray(files: CacheFiles, path: string): Promise<void> {
  try {
    await files.remove(path);
  } catch (error) {
    if (!['EISDIR', 'EPERM'].includes(systemCodeOf(error) ?? '')) throw error;
  }
}
