/**
 * Calls on the entries of an open folder. Each starts from the folder's descriptor and follows no symbolic
 * link at the entry's name. So a program that swaps a folder for a link meanwhile leads no call elsewhere.
 *
 *   with koffi                   system calls that take a folder's descriptor, such as `openat`
 *   on Linux without koffi       paths through `/proc/self/fd`
 *   elsewhere (macOS, no koffi)  the folder's path: here a swapped folder would be followed
 *
 * All throw the system's errors; see `local-errors.ts`.
 */
import * as fs from 'node:fs';
import { NetsealError, systemCodeOf } from '../base/errors.ts';
import type { Name } from '../base/name.ts';
import { nameBytes } from '../volume/names/name-checks.ts';
import { isComponent, joinPath, showName } from './local-names.ts';
import {
  HAS_DESCRIPTOR_PATHS,
  hasFailedWith,
  type Native,
  NUMBERS,
  native,
  systemError,
} from './local-native.ts';

/** The types that have no content and are no symbolic links. `other` is what only some systems have. */
export type LocalSpecialType = 'fifo' | 'socket' | 'characterDevice' | 'blockDevice' | 'other';
export type LocalType = 'file' | 'folder' | 'symlink' | LocalSpecialType;

/** True for a FIFO, a socket, a device and the like. */
export function isSpecial(type: LocalType): type is LocalSpecialType {
  return type !== 'file' && type !== 'folder' && type !== 'symlink';
}

/** The status of a file. Times are nanoseconds since 1970. */
export interface LocalStat {
  readonly type: LocalType;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly atimeNs: bigint;
  /** With `inode`, the same for all names of one file. */
  readonly device: number;
  readonly inode: bigint;
  readonly linkCount: number;
  /** Which device it is, if it is one. */
  readonly major: number;
  readonly minor: number;
}

const { O_RDONLY, O_RDWR, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY } = fs.constants;
const { S_IFMT, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK } = fs.constants;
// O_NONBLOCK: opening a FIFO that has taken a file's place must not wait.
const SAFE_FLAGS = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
/** Flags that open an entry to read it, whatever it is by now. */
export const LOOK_FLAGS: number = O_RDONLY | SAFE_FLAGS;
/** Flags that open an entry to read and write it, whatever it is by now. */
export const CHANGE_FLAGS: number = O_RDWR | SAFE_FLAGS;
const FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** An open folder. */
export class FolderHandle {
  readonly fd: number;
  /** The path as the user knows it, for messages. */
  readonly path: Name;
  /** The path by which its entries are reached without koffi. */
  readonly through: Name;
  #isOpen = true;

  constructor(fd: number, path: Name) {
    this.fd = fd;
    this.path = path;
    this.through = HAS_DESCRIPTOR_PATHS ? `/proc/self/fd/${fd}` : path;
  }

  /** Opens a path that the user named, following a symbolic link at its end. */
  static open(path: Name): FolderHandle {
    return new FolderHandle(fs.openSync(nameBytes(path), O_RDONLY | O_DIRECTORY), path);
  }

  /**
   * As {@link open}, to write into the folder. Where the system has descriptors that give no right to read,
   * one of those serves for a folder that may not be read: its names cannot be listed then.
   */
  static openToWrite(path: Name): FolderHandle {
    try {
      return FolderHandle.open(path);
    } catch (error) {
      if (systemCodeOf(error) !== 'EACCES' || !HAS_DESCRIPTOR_PATHS) throw error;
      return new FolderHandle(fs.openSync(nameBytes(path), NUMBERS.O_PATH | O_DIRECTORY), path);
    }
  }

  /** Opens a folder in this one. ENOTDIR or ELOOP when it is something else, also a link. */
  child(name: Name): FolderHandle {
    return new FolderHandle(openAt(this, name, FOLDER_FLAGS), joinPath(this.path, name));
  }

  /** Opens the same folder again, with a descriptor of its own. */
  reopen(): FolderHandle {
    const calls = native().folders;
    const fd =
      calls === undefined
        ? fs.openSync(nameBytes(this.through), O_RDONLY | O_DIRECTORY)
        : check(calls.openat(this.fd, DOT, FOLDER_FLAGS | NUMBERS.O_CLOEXEC, 'int', 0), 'openat');
    return new FolderHandle(fd, this.path);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    fs.closeSync(this.fd);
  }
}

// Two buffers for the names of the call that runs, each with a zero byte; some calls take two names. They
// hold more than 255 bytes, because reading may meet a file system with longer names.
const CALL_NAME_MAX_BYTES = 1024;
const FIRST = Buffer.alloc(CALL_NAME_MAX_BYTES + 1);
const SECOND = Buffer.alloc(CALL_NAME_MAX_BYTES + 1);

const DOT = Buffer.from('.\0');

/** Guards all calls below: each takes exactly one component of a path. */
function requireComponent(name: Name): void {
  if (!isComponent(name, CALL_NAME_MAX_BYTES))
    throw new NetsealError('EINVAL', `not a file name: '${showName(name)}'`);
}

function terminated(name: Name, buffer: Buffer): Buffer {
  requireComponent(name);
  buffer[buffer.write(name, 'latin1')] = 0;
  return buffer;
}

function pathAt(folder: FolderHandle, name: Name): Buffer {
  requireComponent(name);
  return nameBytes(`${folder.through}/${name}`);
}

function check(result: number, syscall: string): number {
  if (result < 0) throw systemError(syscall);
  return result;
}

/** Opens an entry; the caller closes it. `flags` should have O_NOFOLLOW or O_EXCL. */
export function openAt(folder: FolderHandle, name: Name, flags: number, mode = 0): number {
  const calls = native().folders;
  if (calls === undefined) return fs.openSync(pathAt(folder, name), flags, mode);
  const path = terminated(name, FIRST);
  return check(calls.openat(folder.fd, path, flags | NUMBERS.O_CLOEXEC, 'int', mode), 'openat');
}

export function makeFolderAt(folder: FolderHandle, name: Name, mode: number): void {
  const calls = native().folders;
  if (calls === undefined) fs.mkdirSync(pathAt(folder, name), mode);
  else check(calls.mkdirat(folder.fd, terminated(name, FIRST), mode), 'mkdirat');
}

export function symlinkAt(target: Uint8Array, folder: FolderHandle, name: Name): void {
  const calls = native().folders;
  if (calls === undefined) {
    fs.symlinkSync(Buffer.from(target), pathAt(folder, name));
    return;
  }
  const targetPath = Buffer.alloc(target.byteLength + 1);
  targetPath.set(target);
  check(calls.symlinkat(targetPath, folder.fd, terminated(name, FIRST)), 'symlinkat');
}

/** Makes a FIFO. EUNSUPPORTED where the call is missing. */
export function makeFifoAt(folder: FolderHandle, name: Name, mode: number): void {
  const calls = native().fifos;
  if (calls === undefined) throw new NetsealError('EUNSUPPORTED', 'this machine cannot make a FIFO here');
  check(calls.mkfifoat(folder.fd, terminated(name, FIRST), mode), 'mkfifoat');
}

/** Makes a device. EUNSUPPORTED where the call is missing, or for numbers that no device has. */
export function makeDeviceAt(
  folder: FolderHandle,
  name: Name,
  type: 'characterDevice' | 'blockDevice',
  mode: number,
  { major, minor }: Pick<LocalStat, 'major' | 'minor'>,
): void {
  const calls = native().devices;
  if (calls === undefined) throw new NetsealError('EUNSUPPORTED', 'this machine cannot make a device here');
  // Linux keeps 12 bits and 20 bits, and takes others for the numbers that are left of them.
  if (major > 0xfff || minor > 0xf_ffff) {
    throw new NetsealError('EUNSUPPORTED', `this machine has no device ${major}, ${minor}`);
  }
  const bits = (type === 'blockDevice' ? S_IFBLK : S_IFCHR) | mode;
  const number = BigInt(deviceNumber(major, minor));
  check(calls.mknodat(folder.fd, terminated(name, FIRST), bits, number), 'mknodat');
}

/**
 * Sets the mode of the entry itself, without opening it for reading: opening a device or a FIFO can do
 * something. Does nothing where the system cannot do that.
 */
export function changeModeAt(folder: FolderHandle, name: Name, mode: number): void {
  if (!HAS_DESCRIPTOR_PATHS) {
    // Only macOS has this.
    fs.lchmodSync?.(pathAt(folder, name), mode);
    return;
  }
  const fd = openAt(folder, name, NUMBERS.O_PATH | O_NOFOLLOW);
  try {
    // Of a symbolic link that was put there meanwhile, this fails.
    fs.chmodSync(`/proc/self/fd/${fd}`, mode);
  } finally {
    fs.closeSync(fd);
  }
}

/** Gives a file another name. A symbolic link gets the name itself, not its target. */
export function linkAt(from: FolderHandle, fromName: Name, to: FolderHandle, toName: Name): void {
  const calls = native().folders;
  if (calls === undefined) fs.linkSync(pathAt(from, fromName), pathAt(to, toName));
  else
    check(calls.linkat(from.fd, terminated(fromName, FIRST), to.fd, terminated(toName, SECOND), 0), 'linkat');
}

/** Renames an entry. It replaces an entry that has the new name; EISDIR if that is a folder. */
export function renameAt(folder: FolderHandle, fromName: Name, toName: Name): void {
  const calls = native().folders;
  if (calls === undefined) fs.renameSync(pathAt(folder, fromName), pathAt(folder, toName));
  else
    check(
      calls.renameat(folder.fd, terminated(fromName, FIRST), folder.fd, terminated(toName, SECOND)),
      'renameat',
    );
}

/** Removes an entry that is not a folder. */
export function unlinkAt(folder: FolderHandle, name: Name): void {
  const calls = native().folders;
  if (calls === undefined) fs.unlinkSync(pathAt(folder, name));
  else check(calls.unlinkat(folder.fd, terminated(name, FIRST), 0), 'unlinkat');
}

/** Removes an empty folder. */
export function removeFolderAt(folder: FolderHandle, name: Name): void {
  const calls = native().folders;
  if (calls === undefined) fs.rmdirSync(pathAt(folder, name));
  else check(calls.unlinkat(folder.fd, terminated(name, FIRST), NUMBERS.AT_REMOVEDIR), 'unlinkat');
}

/** Sets the owner of the entry itself, also of a symbolic link. */
export function changeOwnerAt(folder: FolderHandle, name: Name, uid: number, gid: number): void {
  const calls = native().folders;
  if (calls === undefined) fs.lchownSync(pathAt(folder, name), uid, gid);
  else
    check(
      calls.fchownat(folder.fd, terminated(name, FIRST), uid, gid, NUMBERS.AT_SYMLINK_NOFOLLOW),
      'fchownat',
    );
}

export function readLinkAt(folder: FolderHandle, name: Name): Uint8Array<ArrayBuffer> {
  return new Uint8Array(fs.readlinkSync(pathAt(folder, name), { encoding: 'buffer' }));
}

/** Returns the names in a folder, in no order. */
export function namesIn(folder: FolderHandle): Name[] {
  return fs.readdirSync(nameBytes(folder.through), { encoding: 'latin1' });
}

// Two timespec: access and change. Seconds, then nanoseconds.
const TIMES = new BigInt64Array(4);
const SECOND_NS = 1_000_000_000n;

/** Times to set. Without an access time, that becomes the same as the modification time. */
export interface TimesToSet {
  readonly mtimeNs: bigint;
  readonly atimeNs?: bigint | undefined;
}

/** Fills TIMES. */
function timesOf({ mtimeNs, atimeNs = mtimeNs }: TimesToSet): BigInt64Array {
  fillTime(0, atimeNs);
  fillTime(2, mtimeNs);
  return TIMES;
}

function fillTime(at: number, timeNs: bigint): void {
  const nanoseconds = ((timeNs % SECOND_NS) + SECOND_NS) % SECOND_NS;
  TIMES[at] = (timeNs - nanoseconds) / SECOND_NS;
  TIMES[at + 1] = nanoseconds;
}

/** Returns a time for Node's calls. Node takes a negative number for the present time, but not a date. */
function nodeTime(timeNs: bigint): number | Date {
  return timeNs < 0n ? new Date(Number(timeNs) / 1e6) : Number(timeNs) / 1e9;
}

/** Sets access and modification time of an open file. */
export function setTimes(fd: number, times: TimesToSet): void {
  const calls = native().times;
  if (calls !== undefined) check(calls.futimens(fd, timesOf(times)), 'futimens');
  else fs.futimesSync(fd, nodeTime(times.atimeNs ?? times.mtimeNs), nodeTime(times.mtimeNs));
}

/** Sets access and modification time of the entry itself, also of a symbolic link. */
export function setTimesAt(folder: FolderHandle, name: Name, times: TimesToSet): void {
  const calls = native().times;
  if (calls === undefined) {
    const { mtimeNs, atimeNs = mtimeNs } = times;
    fs.lutimesSync(pathAt(folder, name), nodeTime(atimeNs), nodeTime(mtimeNs));
    return;
  }
  const path = terminated(name, FIRST);
  check(calls.utimensat(folder.fd, path, timesOf(times), NUMBERS.AT_SYMLINK_NOFOLLOW), 'utimensat');
}

// The same on Linux and macOS.
const LOCK_EX_NB = 2 | 4;

/** True when {@link tryLock} works on this machine. */
export function hasLocks(): boolean {
  return native().locks !== undefined;
}

/**
 * Takes the lock of an open file until it is closed. Returns false when another process has it, or without
 * locks.
 */
export function tryLock(fd: number): boolean {
  return native().locks?.flock(fd, LOCK_EX_NB) === 0;
}

const STATX_BASIC_STATS = 0x7ff;
const AT_EMPTY_PATH = 0x1000;
// struct statx.
const STATUS = new ArrayBuffer(256);
const STATUS_U16 = new Uint16Array(STATUS);
const STATUS_U32 = new Uint32Array(STATUS);
const STATUS_I64 = new BigInt64Array(STATUS);

/** Returns the status of the entry itself: links are not followed. */
export function statAt(folder: FolderHandle, name: Name): LocalStat {
  const calls = native().status;
  if (calls === undefined) return fromStats(fs.lstatSync(pathAt(folder, name), { bigint: true }));
  check(askStatus(calls, folder, name), 'statx');
  return fromStatx();
}

/**
 * Like {@link statAt}; undefined when there is no such entry, which costs no error: every new file is asked
 * for.
 */
export function lookAt(folder: FolderHandle, name: Name): LocalStat | undefined {
  const calls = native().status;
  if (calls === undefined) {
    const stats = fs.lstatSync(pathAt(folder, name), { bigint: true, throwIfNoEntry: false });
    return stats === undefined ? undefined : fromStats(stats);
  }
  const result = askStatus(calls, folder, name);
  if (result < 0 && hasFailedWith('ENOENT')) return undefined;
  check(result, 'statx');
  return fromStatx();
}

/** Fills STATUS. Returns a negative number when the call fails. */
function askStatus(calls: NonNullable<Native['status']>, folder: FolderHandle, name: Name): number {
  const path = terminated(name, FIRST);
  return calls.statx(folder.fd, path, NUMBERS.AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, STATUS);
}

/** Returns the status of an open file. */
export function statOf(fd: number): LocalStat {
  const calls = native().status;
  if (calls === undefined) return fromStats(fs.fstatSync(fd, { bigint: true }));
  FIRST[0] = 0;
  check(calls.statx(fd, FIRST, AT_EMPTY_PATH, STATX_BASIC_STATS, STATUS), 'statx');
  return fromStatx();
}

/** Returns the status of a path that the user named. */
export function statPath(path: Name, followsLink: boolean): LocalStat {
  const look = followsLink ? fs.statSync : fs.lstatSync;
  return fromStats(look(nameBytes(path), { bigint: true }));
}

function fromStatx(): LocalStat {
  const mode = STATUS_U16[14] ?? 0;
  return {
    type: typeOf(mode),
    mode: mode & 0o7777,
    uid: STATUS_U32[5] ?? 0,
    gid: STATUS_U32[6] ?? 0,
    sizeBytes: Number(STATUS_I64[5]),
    mtimeNs: statxTime(14),
    ctimeNs: statxTime(12),
    atimeNs: statxTime(8),
    device: deviceNumber(STATUS_U32[34] ?? 0, STATUS_U32[35] ?? 0),
    inode: BigInt.asUintN(64, STATUS_I64[4] ?? 0n),
    linkCount: STATUS_U32[4] ?? 0,
    major: STATUS_U32[32] ?? 0,
    minor: STATUS_U32[33] ?? 0,
  };
}

/** Returns a time in ns from STATUS: i64 seconds at this index, and u32 nanoseconds after them. */
function statxTime(index: number): bigint {
  return (STATUS_I64[index] ?? 0n) * SECOND_NS + BigInt(STATUS_U32[2 * index + 2] ?? 0);
}

/** Joins both as Linux's `makedev` does. So a device has the same number as in Node's own stat. */
function deviceNumber(major: number, minor: number): number {
  const low = ((major & 0xfff) << 8) | (minor & 0xff);
  return (low >>> 0) + (minor - (minor & 0xff)) * 0x1000 + (major - (major & 0xfff)) * 0x1_0000_0000;
}

function fromStats(stats: fs.BigIntStats): LocalStat {
  const mode = Number(stats.mode);
  return {
    type: typeOf(mode),
    mode: mode & 0o7777,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    sizeBytes: Number(stats.size),
    mtimeNs: stats.mtimeNs,
    ctimeNs: stats.ctimeNs,
    atimeNs: stats.atimeNs,
    device: Number(stats.dev),
    inode: stats.ino,
    linkCount: Number(stats.nlink),
    major: Number(((stats.rdev >> 8n) & 0xfffn) | ((stats.rdev >> 32n) & 0xffff_f000n)),
    minor: Number((stats.rdev & 0xffn) | ((stats.rdev >> 12n) & 0xffff_ff00n)),
  };
}

function typeOf(mode: number): LocalType {
  return TYPES.get(mode & S_IFMT) ?? 'other';
}

const TYPES: ReadonlyMap<number, LocalType> = new Map<number, LocalType>([
  [S_IFREG, 'file'],
  [S_IFDIR, 'folder'],
  [S_IFLNK, 'symlink'],
  [S_IFIFO, 'fifo'],
  [S_IFSOCK, 'socket'],
  [S_IFCHR, 'characterDevice'],
  [S_IFBLK, 'blockDevice'],
]);
