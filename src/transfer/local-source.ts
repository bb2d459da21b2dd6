/** The local side of `put`: folders and files as they are, never through a symbolic link below the path that was named. */
import * as fs from 'node:fs';
import { promisify } from 'node:util';
import { codeOf, NetsealError, systemCodeOf } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { Attributes, ExtendedAttribute } from '../server/sealed/inode.ts';
import { nameBytes, toBytesName } from '../volume/names/name-checks.ts';
import {
  FolderHandle,
  type LocalStat,
  namesIn,
  openAt,
  readLinkAt,
  statAt,
  statOf,
  statPath,
} from './local-calls.ts';
import { localError } from './local-errors.ts';
import { joinPath, showName } from './local-names.ts';
import { hasFailedWith, NUMBERS, native, systemError } from './local-native.ts';
import { readAttributes, readAttributesAt } from './local-xattrs.ts';

const readAsync = promisify(fs.read);
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = fs.constants;
// A fifo that was put in a file's place must not hold us up.
const FILE_FLAGS = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
/** Between two reads of this size an abort is noticed. */
const READ_MAX_BYTES = 4 * 1024 * 1024;

/** A name in a folder, with what it is. */
export interface LocalEntry extends LocalStat {
  readonly name: Name;
}

/** Half-open, in bytes. */
export interface DataRange {
  readonly start: number;
  readonly end: number;
}

/** What a volume keeps of a file. */
export function attributesOf(stat: LocalStat, xattrs: readonly ExtendedAttribute[]): Attributes {
  return { mode: stat.mode, uid: stat.uid, gid: stat.gid, mtimeNs: stat.mtimeNs, xattrs };
}

/** What a path of the command line is. A symbolic link at its end is followed if asked to. ENOENT when nothing is there. */
export function statLocal(
  path: string | Uint8Array,
  { followsLink = false }: { followsLink?: boolean } = {},
): LocalStat {
  const name = toBytesName(path);
  return reading(name, () => statPath(name, followsLink));
}

/** The target of the symbolic link at a path of the command line. */
export function readLocalLink(path: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const name = toBytesName(path);
  return reading(name, () => new Uint8Array(fs.readlinkSync(nameBytes(name), { encoding: 'buffer' })));
}

/** Opens a file that the command line named; a symbolic link at its end is followed. EINVAL when it is no ordinary file. */
export function openLocalFile(path: string | Uint8Array): LocalFile {
  const name = toBytesName(path);
  const flags = FILE_FLAGS & ~O_NOFOLLOW;
  return LocalFile.from(
    reading(name, () => fs.openSync(nameBytes(name), flags)),
    name,
  );
}

/** An open folder. One descriptor; close it. */
export class LocalFolder {
  readonly #handle: FolderHandle;

  private constructor(handle: FolderHandle) {
    this.#handle = handle;
  }

  /** Opens a folder that the user named; a symbolic link at the path's end is followed. ENOENT, ENOTDIR, EDENIED. */
  static open(path: string | Uint8Array): LocalFolder {
    const name = toBytesName(path);
    return new LocalFolder(reading(name, () => FolderHandle.open(name)));
  }

  /** As the user named it, with the names below. */
  get path(): Name {
    return this.#handle.path;
  }

  get stat(): LocalStat {
    return reading(this.path, () => statOf(this.#handle.fd));
  }

  /** The folder's own extended attributes, ascending by key. */
  ownXattrs(): readonly ExtendedAttribute[] {
    return reading(this.path, () => readAttributes(this.#handle.fd));
  }

  /** Ascending. All in memory at once, 10,000 in about 3 ms. */
  names(): Name[] {
    return reading(this.path, () => namesIn(this.#handle)).sort();
  }

  /** ENOENT when it is gone. */
  entry(name: Name): LocalEntry {
    return { name, ...this.#reading(name, () => statAt(this.#handle, name)) };
  }

  /** Ascending by name. What disappears meanwhile is left out. */
  entries(): LocalEntry[] {
    const entries: LocalEntry[] = [];
    for (const name of this.names()) {
      try {
        entries.push(this.entry(name));
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error;
      }
    }
    return entries;
  }

  /** ENOTDIR when it is something else by now, a symbolic link too. The caller closes it. */
  folder(name: Name): LocalFolder {
    return new LocalFolder(this.#reading(name, () => this.#handle.child(name)));
  }

  /** EINVAL when it is something else by now. The caller closes it. */
  openFile(name: Name): LocalFile {
    const path = joinPath(this.path, name);
    return LocalFile.from(
      reading(path, () => {
        try {
          return openAt(this.#handle, name, FILE_FLAGS);
        } catch (error) {
          // A symbolic link, a socket.
          if (['ELOOP', 'ENXIO'].includes(systemCodeOf(error) ?? '')) throw notOrdinary(path, error);
          throw error;
        }
      }),
      path,
    );
  }

  /** The bytes that a symbolic link leads to. */
  readLink(name: Name): Uint8Array<ArrayBuffer> {
    return this.#reading(name, () => readLinkAt(this.#handle, name));
  }

  /** Of the entry itself, ascending by key; `LocalFile.xattrs` is quicker for files. */
  xattrs(name: Name): readonly ExtendedAttribute[] {
    return this.#reading(name, () => readAttributesAt(this.#handle, name));
  }

  close(): void {
    this.#handle.close();
  }

  #reading<Result>(name: Name, action: () => Result): Result {
    try {
      return action();
    } catch (error) {
      throw localError('read', joinPath(this.path, name), error);
    }
  }
}

/** An ordinary file, open for reading. One descriptor; close it. */
export class LocalFile {
  readonly #fd: number;
  readonly path: Name;
  /** As it was when it was opened. */
  readonly stat: LocalStat;
  #isOpen = true;
  /** Background reads: the descriptor must not become another file's before they end. */
  #runningCount = 0;

  private constructor(fd: number, path: Name, stat: LocalStat) {
    this.#fd = fd;
    this.path = path;
    this.stat = stat;
  }

  /** Takes the descriptor over; closes it when it is no ordinary file: EINVAL. */
  static from(fd: number, path: Name): LocalFile {
    try {
      const stat = reading(path, () => statOf(fd));
      if (stat.type !== 'file') throw notOrdinary(path);
      return new LocalFile(fd, path, stat);
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  /** Fills `into` from there on, unless the file ends: the number of bytes read. For small files. */
  readSync(into: Uint8Array, offsetBytes: number): number {
    this.#requireOpen();
    let done = 0;
    while (done < into.byteLength) {
      const count = reading(this.path, () =>
        fs.readSync(this.#fd, into, done, into.byteLength - done, offsetBytes + done),
      );
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  /**
   * Like {@link readSync}, in the background. `into` may be a view of shared memory; it is written until this settles, also
   * after an abort.
   */
  async read(into: Uint8Array, offsetBytes: number, signal?: AbortSignal): Promise<number> {
    this.#requireOpen();
    this.#runningCount += 1;
    try {
      let done = 0;
      while (done < into.byteLength) {
        signal?.throwIfAborted();
        const lengthBytes = Math.min(into.byteLength - done, READ_MAX_BYTES);
        const { bytesRead } = await readAsync(this.#fd, into, done, lengthBytes, offsetBytes + done);
        if (bytesRead === 0) break;
        this.#requireOpen();
        done += bytesRead;
      }
      return done;
    } catch (error) {
      throw localError('read', this.path, error);
    } finally {
      this.#runningCount -= 1;
      if (this.#runningCount === 0 && !this.#isOpen) fs.closeSync(this.#fd);
    }
  }

  /**
   * The next range, at or after `fromBytes`, that is no hole; undefined when only holes follow, or nothing. Where holes
   * cannot be seen, all is data.
   */
  nextData(fromBytes: number): DataRange | undefined {
    const calls = native().holes;
    const end = this.stat.sizeBytes;
    if (fromBytes >= end) return undefined;
    if (calls === undefined) return { start: fromBytes, end };
    const start = calls.lseek(this.#fd, fromBytes, NUMBERS.SEEK_DATA);
    if (start < 0) {
      if (hasFailedWith('ENXIO')) return undefined;
      if (hasFailedWith('EINVAL') || hasFailedWith('EOPNOTSUPP')) return { start: fromBytes, end };
      throw localError('read', this.path, systemError('lseek'));
    }
    const hole = calls.lseek(this.#fd, start, NUMBERS.SEEK_HOLE);
    // It may have grown since it was opened.
    if (start >= end) return undefined;
    return { start, end: hole < 0 ? end : Math.min(hole, end) };
  }

  /** Ascending by key. Those of the user, access control lists and capabilities; none where there are none. */
  xattrs(): readonly ExtendedAttribute[] {
    return reading(this.path, () => readAttributes(this.#fd));
  }

  /** Whether size, change time or status time are others than at the start. */
  changedSinceOpen(): boolean {
    const now = reading(this.path, () => statOf(this.#fd));
    const { sizeBytes, mtimeNs, ctimeNs } = this.stat;
    return now.sizeBytes !== sizeBytes || now.mtimeNs !== mtimeNs || now.ctimeNs !== ctimeNs;
  }

  /** Background reads fail. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#runningCount === 0) fs.closeSync(this.#fd);
  }

  #requireOpen(): void {
    if (!this.#isOpen) throw new NetsealError('ECLOSED', `already closed: ${showName(this.path)}`);
  }
}

function notOrdinary(path: Name, cause?: unknown): NetsealError {
  return new NetsealError('EINVAL', `no ordinary file: ${showName(path)}`, { cause });
}

function reading<Result>(path: Name, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw localError('read', path, error);
  }
}
