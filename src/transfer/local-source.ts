/**
 * The local side of `put`: reads folders and files, and follows no symbolic link below the path that the user
 * named.
 */
import * as fs from 'node:fs';
import { codeOf, NetsealError, systemCodeOf } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import type { Attributes, ExtendedAttribute } from '../server/sealed/inode.ts';
import { readAsync } from '../system/file-bytes.ts';
import { nameBytes, toBytesName } from '../volume/names/name-checks.ts';
import {
  FolderHandle,
  LOOK_FLAGS,
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
import { type OnLost, readAttributes, readAttributesAt } from './local-xattrs.ts';
import type { OwnStorage } from './own-storage.ts';

/** The most that is read at once. An abort is noticed between two reads. */
const READ_MAX_BYTES = 4 * 1024 * 1024;

/** A name in a folder, with its status. */
export interface LocalEntry extends LocalStat {
  readonly name: Name;
}

/** Half-open, in bytes. */
export interface DataRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Returns the attributes that a volume keeps of a file. `onLost` is told when its time is beyond what a
 * volume can keep.
 *
 * @param atime whether the access time is kept as well.
 */
export function attributesOf(
  stat: LocalStat,
  xattrs: readonly ExtendedAttribute[],
  { atime = false }: { readonly atime?: boolean | undefined },
  onLost: OnLost,
): Attributes {
  const mtimeNs = timeToKeep(stat.mtimeNs);
  if (mtimeNs !== stat.mtimeNs)
    onLost(`its time is kept as ${showTime(mtimeNs)}: later or earlier cannot be`);
  const accessed = atime ? { atimeNs: timeToKeep(stat.atimeNs) } : {};
  return { mode: stat.mode, uid: stat.uid, gid: stat.gid, mtimeNs, ...accessed, xattrs };
}

const TIME_MAX_NS = 2n ** 63n - 1n;
const TIME_MIN_NS = -(2n ** 63n);

/** Returns the nearest time that a volume can keep: from 1677 to 2262. */
export function timeToKeep(timeNs: bigint): bigint {
  if (timeNs > TIME_MAX_NS) return TIME_MAX_NS;
  return timeNs < TIME_MIN_NS ? TIME_MIN_NS : timeNs;
}

function showTime(timeNs: bigint): string {
  return new Date(Number(timeNs / 1_000_000n)).toISOString();
}

/**
 * Returns the status of a path that the user named. Follows a symbolic link at its end if asked to. ENOENT
 * when nothing is there.
 */
export function statLocal(
  path: string | Uint8Array,
  { followsLink = false }: { followsLink?: boolean } = {},
): LocalStat {
  const name = toBytesName(path);
  return reading(name, () => statPath(name, followsLink));
}

/** Returns the target of the symbolic link at a path that the user named. */
export function readLocalLink(path: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const name = toBytesName(path);
  return reading(name, () => new Uint8Array(fs.readlinkSync(nameBytes(name), { encoding: 'buffer' })));
}

/**
 * Opens a file that the user named, following a symbolic link at the path's end. EINVAL when it is no
 * ordinary file.
 */
export function openLocalFile(path: string | Uint8Array): LocalFile {
  const name = toBytesName(path);
  const flags = LOOK_FLAGS & ~fs.constants.O_NOFOLLOW;
  return LocalFile.from(
    reading(name, () => fs.openSync(nameBytes(name), flags)),
    name,
  );
}

/** An open folder. It has one descriptor; the caller closes it. */
export class LocalFolder {
  readonly #handle: FolderHandle;

  private constructor(handle: FolderHandle) {
    this.#handle = handle;
  }

  /**
   * Opens a folder that the user named; a symbolic link at the path's end is followed. ENOENT, ENOTDIR,
   * EDENIED.
   */
  static open(path: string | Uint8Array): LocalFolder {
    const name = toBytesName(path);
    return new LocalFolder(reading(name, () => FolderHandle.open(name)));
  }

  /** The path as the user named it, with the names below. */
  get path(): Name {
    return this.#handle.path;
  }

  get stat(): LocalStat {
    return reading(this.path, () => statOf(this.#handle.fd));
  }

  /** Says what the folder holds if netseal itself uses it; see {@link OwnStorage.whatIs}. */
  whatOfOurs(own: OwnStorage): string | undefined {
    return reading(this.path, () => own.whatIs(this.#handle));
  }

  /** The folder's own extended attributes, ascending by key. */
  ownXattrs(onLost: OnLost): readonly ExtendedAttribute[] {
    return reading(this.path, () => readAttributes(this.#handle.fd, onLost));
  }

  /** Returns all names, ascending. 10,000 take about 3 ms. */
  names(): Name[] {
    return reading(this.path, () => namesIn(this.#handle)).sort();
  }

  /** Returns the status of an entry. ENOENT when it is gone. */
  entry(name: Name): LocalEntry {
    return { name, ...this.#reading(name, () => statAt(this.#handle, name)) };
  }

  /** Yields the entries, ascending by name, without those that disappear in the meantime. */
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

  /**
   * Opens a folder in this one; the caller closes it. ENOTDIR when it is something else by now, also a
   * symbolic link.
   */
  folder(name: Name): LocalFolder {
    return new LocalFolder(this.#reading(name, () => this.#handle.child(name)));
  }

  /** Opens an ordinary file; the caller closes it. EINVAL when it is something else by now. */
  openFile(name: Name): LocalFile {
    const path = joinPath(this.path, name);
    return LocalFile.from(
      reading(path, () => {
        try {
          return openAt(this.#handle, name, LOOK_FLAGS);
        } catch (error) {
          // It is a symbolic link or a socket.
          if (['ELOOP', 'ENXIO'].includes(systemCodeOf(error) ?? '')) throw notOrdinary(path, error);
          throw error;
        }
      }),
      path,
    );
  }

  /** Returns the target of a symbolic link. */
  readLink(name: Name): Uint8Array<ArrayBuffer> {
    return this.#reading(name, () => readLinkAt(this.#handle, name));
  }

  /**
   * Returns the extended attributes of the entry itself, ascending by key. For files `LocalFile.xattrs` is
   * faster.
   */
  xattrs(name: Name, onLost: OnLost): readonly ExtendedAttribute[] {
    return this.#reading(name, () => readAttributesAt(this.#handle, name, onLost));
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

/** An ordinary file, open for reading. It has one descriptor; the caller closes it. */
export class LocalFile {
  readonly #fd: number;
  readonly path: Name;
  /** The status when the file was opened. */
  readonly stat: LocalStat;
  #isOpen = true;
  /**
   * Background reads. The descriptor stays open until they end, or its number could become another file's.
   */
  #runningCount = 0;

  private constructor(fd: number, path: Name, stat: LocalStat) {
    this.#fd = fd;
    this.path = path;
    this.stat = stat;
  }

  /** Takes over a descriptor. If it is no ordinary file, closes it and throws EINVAL. */
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

  /**
   * Fills `into` with the file's bytes from an offset on, up to the file's end. Returns how many were read.
   * For small files.
   */
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
   * Like {@link readSync}, in the background. `into` may be a view of shared memory; it is written until this
   * settles, also after an abort.
   */
  async read(into: Uint8Array, offsetBytes: number, signal?: AbortSignal): Promise<number> {
    this.#requireOpen();
    this.#runningCount += 1;
    try {
      let done = 0;
      while (done < into.byteLength) {
        signal?.throwIfAborted();
        const lengthBytes = Math.min(into.byteLength - done, READ_MAX_BYTES);
        const bytesRead = await readAsync(this.#fd, into, done, lengthBytes, offsetBytes + done);
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
   * Returns the next range of data at or after `fromBytes`; undefined when only holes follow, or nothing. On
   * machines that do not show holes, everything counts as data.
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
    // The file may have grown since it was opened.
    if (start >= end) return undefined;
    return { start, end: hole < 0 ? end : Math.min(hole, end) };
  }

  /**
   * Returns the extended attributes, ascending by key: the user's own, access control lists and capabilities.
   */
  xattrs(onLost: OnLost): readonly ExtendedAttribute[] {
    return reading(this.path, () => readAttributes(this.#fd, onLost));
  }

  /** The size that the file system tells now. */
  sizeNow(): number {
    return reading(this.path, () => statOf(this.#fd)).sizeBytes;
  }

  /** True when size, modification time or status time differ from those at opening. */
  changedSinceOpen(): boolean {
    const now = reading(this.path, () => statOf(this.#fd));
    const { sizeBytes, mtimeNs, ctimeNs } = this.stat;
    return now.sizeBytes !== sizeBytes || now.mtimeNs !== mtimeNs || now.ctimeNs !== ctimeNs;
  }

  /** Closes the file. Background reads fail. */
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
  return new NetsealError('EINVAL', `${showName(path)} is not a regular file`, { cause });
}

function reading<Result>(path: Name, action: () => Result): Result {
  try {
    return action();
  } catch (error) {
    throw localError('read', path, error);
  }
}
