/**
 * The one door to the operating system for everything in a cache folder but its databases. Tests put their own behind it:
 * short writes, failures, power cuts. Paths are relative to the cache's folder, with `/`.
 */
import {
  close,
  constants,
  fdatasync,
  fstat,
  fsync,
  ftruncate,
  mkdir,
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

export interface CacheFile {
  /** Reads at `position` into `into`, up to its length; 0 at the end of the file. May be short. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** The same at once, on this thread. For what most likely lies in the page cache. */
  readNow(into: Uint8Array, position: number): number;
  /** Writes the parts one after another at `position`. May be short: the bytes that were written. */
  write(parts: readonly Uint8Array[], position: number): Promise<number>;
  /** Everything written so far, and the length, is on the disk. ENOENT when the file was removed meanwhile: it is of no use there. */
  sync(): Promise<void>;
  truncate(lengthBytes: number): Promise<void>;
  size(): Promise<number>;
  /** Calling it again does nothing. Never rejects. */
  close(): Promise<void>;
  /** For other threads of this process; -1 when there is none. */
  readonly descriptor: number;
}

export type OpenMode =
  /** An existing file, to be read. */
  | 'read'
  /** An existing file, to be read and written. */
  | 'write'
  /** A new file; what is there is emptied. */
  | 'create';

/** Free space as the user of this process may use it. */
export interface DiskSpace {
  readonly blockCount: number;
  readonly blocksAvailable: number;
  /** 0 where the file system does not count files. */
  readonly fileCount: number;
  readonly filesAvailable: number;
}

/** Everything rejects with system errors as they come. */
export interface CacheFiles {
  open(path: string, mode: OpenMode): Promise<CacheFile>;
  /** Names in a folder, in no order. */
  list(folder: string): Promise<string[]>;
  /** Makes a folder and its parents; is content when it is there. `''` is the cache's own. */
  makeFolder(folder: string): Promise<void>;
  /** Replaces what is at `to`. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; is content when there is none. */
  remove(path: string): Promise<void>;
  /** The names in the folder are on the disk. */
  syncFolder(folder: string): Promise<void>;
  space(): Promise<DiskSpace>;
  /** Where SQLite may keep a database of this name. */
  databasePath(name: string): string;
}

const openAsync = promisify(open);
const mkdirAsync = promisify(mkdir);
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
/** Whoever may put links or pipes into the folder makes nobody write elsewhere, or wait for ever. */
const NOTHING_SPECIAL = O_NOFOLLOW | O_NONBLOCK;
const FLAGS: Record<OpenMode, number> = {
  read: O_RDONLY | NOTHING_SPECIAL,
  write: O_RDWR | NOTHING_SPECIAL,
  create: O_RDWR | O_CREAT | O_TRUNC | NOTHING_SPECIAL,
};

/** Which file lies at a path of the system: its device and number. Undefined when it cannot be seen. */
export function fileIdentity(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return `${dev}/${ino}`;
  } catch {
    return undefined;
  }
}

/** The real files below `root`. Everything is made for this user alone. */
export function systemFiles(root: string): CacheFiles {
  const at = (path: string): string => (path === '' ? root : `${root}/${path}`);
  return {
    open: async (path, mode) => new SystemFile(await openAsync(at(path), FLAGS[mode], 0o600)),
    list: folder => readdirAsync(at(folder)),
    makeFolder: async folder => {
      await mkdirAsync(at(folder), { recursive: true, mode: 0o700 });
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

/** A file that somebody has removed: what is written to it is lost when it is closed. */
class RemovedFileError extends Error {
  readonly code = 'ENOENT';
}

/** A file that was cut short, or whose writes do not get on. */
export class ShortFileError extends Error {
  readonly code = 'EIO';
}

/** Reads all of `into`; throws {@link ShortFileError} when the file ends before. */
export async function readFully(file: CacheFile, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.byteLength; ) {
    const count = await file.read(done === 0 ? into : into.subarray(done), position + done);
    if (count === 0) throw new ShortFileError('a file of the cache is cut short');
    done += count;
  }
}

/** Larger writes fill the page cache in larger pieces of memory, which took Linux 6.18 four times as long. */
export const WRITE_BYTES_MAX: number = 2 * 1024 * 1024;

/** Writes all parts, however often the system stops short. */
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

/** What is left of the parts behind their first `count` bytes. */
function skip(parts: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let left = count;
  for (const [index, part] of parts.entries()) {
    if (left < part.byteLength) return [part.subarray(left), ...parts.slice(index + 1)];
    left -= part.byteLength;
  }
  return [];
}

/** Puts a small file in place as a whole: written aside, synced, renamed. */
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

/** The whole of a small file; undefined when there is none. Longer ones than `bytesMax` are cut. */
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
