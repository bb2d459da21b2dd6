/**
 * The system calls that Node lacks, through `koffi`: extended attributes, holes, times to the nanosecond, and
 * the calls that start from an open folder. koffi is loaded at the first use. Where koffi or a call is
 * missing, the group of that call is undefined, and the callers do without it. `NETSEAL_KOFFI=0` turns koffi
 * off.
 *
 * A call takes about 0.3 µs more than the kernel needs, less than Node's own calls of the same kind.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants as systemConstants } from 'node:os';
import { getSystemErrorMessage, getSystemErrorName } from 'node:util';

/** Names and paths end with a zero byte. A negative result is a failure: throw {@link systemError}. */
interface FolderCalls {
  openat(folder: number, name: Uint8Array, flags: number, ...typeAndMode: (number | string)[]): number;
  mkdirat(folder: number, name: Uint8Array, mode: number): number;
  symlinkat(target: Uint8Array, folder: number, name: Uint8Array): number;
  linkat(folder: number, name: Uint8Array, toFolder: number, toName: Uint8Array, flags: number): number;
  renameat(folder: number, name: Uint8Array, toFolder: number, toName: Uint8Array): number;
  unlinkat(folder: number, name: Uint8Array, flags: number): number;
  fchownat(folder: number, name: Uint8Array, uid: number, gid: number, flags: number): number;
}

interface FifoCalls {
  mkfifoat(folder: number, name: Uint8Array, mode: number): number;
}

interface DeviceCalls {
  mknodat(folder: number, name: Uint8Array, mode: number, device: bigint): number;
}

interface TimeCalls {
  /** times: two timespec, access and change; each i64 seconds, i64 nanoseconds. */
  utimensat(folder: number, name: Uint8Array, times: BigInt64Array, flags: number): number;
  futimens(fd: number, times: BigInt64Array): number;
}

interface StatusCalls {
  statx(folder: number, name: Uint8Array, flags: number, mask: number, into: ArrayBuffer): number;
}

interface HoleCalls {
  lseek(fd: number, offset: number, whence: number): number;
}

interface LockCalls {
  flock(fd: number, operation: number): number;
}

interface AttributeCalls {
  flistxattr(fd: number, list: Uint8Array, sizeBytes: number): number;
  fgetxattr(fd: number, key: Uint8Array, value: Uint8Array, sizeBytes: number): number;
  fsetxattr(fd: number, key: Uint8Array, value: Uint8Array, sizeBytes: number, flags: number): number;
  fremovexattr(fd: number, key: Uint8Array): number;
  getxattr(path: Uint8Array, key: Uint8Array, value: Uint8Array, sizeBytes: number): number;
  llistxattr(path: Uint8Array, list: Uint8Array, sizeBytes: number): number;
  lgetxattr(path: Uint8Array, key: Uint8Array, value: Uint8Array, sizeBytes: number): number;
}

/** The groups of calls; undefined where this machine lacks one. */
export interface Native {
  readonly folders: FolderCalls | undefined;
  readonly fifos: FifoCalls | undefined;
  readonly devices: DeviceCalls | undefined;
  readonly times: TimeCalls | undefined;
  readonly status: StatusCalls | undefined;
  readonly holes: HoleCalls | undefined;
  readonly locks: LockCalls | undefined;
  readonly attributes: AttributeCalls | undefined;
}

const SIGNATURES = {
  openat: 'int openat(int folder, const void *name, int flags, ...)',
  mkdirat: 'int mkdirat(int folder, const void *name, uint32_t mode)',
  symlinkat: 'int symlinkat(const void *target, int folder, const void *name)',
  linkat: 'int linkat(int folder, const void *name, int toFolder, const void *toName, int flags)',
  renameat: 'int renameat(int folder, const void *name, int toFolder, const void *toName)',
  unlinkat: 'int unlinkat(int folder, const void *name, int flags)',
  mkfifoat: 'int mkfifoat(int folder, const void *name, uint32_t mode)',
  mknodat: 'int mknodat(int folder, const void *name, uint32_t mode, uint64_t device)',
  fchownat: 'int fchownat(int folder, const void *name, uint32_t uid, uint32_t gid, int flags)',
  utimensat: 'int utimensat(int folder, const void *name, const void *times, int flags)',
  futimens: 'int futimens(int fd, const void *times)',
  statx: 'int statx(int folder, const void *name, int flags, uint32_t mask, void *into)',
  flock: 'int flock(int fd, int operation)',
  lseek: 'int64_t lseek(int fd, int64_t offset, int whence)',
  flistxattr: 'intptr_t flistxattr(int fd, void *list, size_t size)',
  fgetxattr: 'intptr_t fgetxattr(int fd, const void *key, void *value, size_t size)',
  fsetxattr: 'int fsetxattr(int fd, const void *key, const void *value, size_t size, int flags)',
  fremovexattr: 'int fremovexattr(int fd, const void *key)',
  getxattr: 'intptr_t getxattr(const void *path, const void *key, void *value, size_t size)',
  llistxattr: 'intptr_t llistxattr(const void *path, void *list, size_t size)',
  lgetxattr: 'intptr_t lgetxattr(const void *path, const void *key, void *value, size_t size)',
} as const;

type CallName = keyof typeof SIGNATURES;
type Koffi = typeof import('koffi');

interface PlatformNumbers {
  readonly O_CLOEXEC: number;
  /** Opens a folder without the right to read it; 0 where there is no such flag. */
  readonly O_PATH: number;
  readonly AT_SYMLINK_NOFOLLOW: number;
  readonly AT_REMOVEDIR: number;
  readonly SEEK_DATA: number;
  readonly SEEK_HOLE: number;
}

const LINUX: PlatformNumbers = {
  O_CLOEXEC: 0o2000000,
  O_PATH: 0o10000000,
  AT_SYMLINK_NOFOLLOW: 0x100,
  AT_REMOVEDIR: 0x200,
  SEEK_DATA: 3,
  SEEK_HOLE: 4,
};
const DARWIN: PlatformNumbers = {
  O_CLOEXEC: 0x100_0000,
  O_PATH: 0,
  AT_SYMLINK_NOFOLLOW: 0x20,
  AT_REMOVEDIR: 0x80,
  SEEK_DATA: 4,
  SEEK_HOLE: 3,
};
const PLATFORMS: Partial<Record<NodeJS.Platform, PlatformNumbers>> = { linux: LINUX, darwin: DARWIN };

/** The constants of this platform that Node does not have. */
export const NUMBERS: PlatformNumbers = PLATFORMS[process.platform] ?? LINUX;

/** True when `/proc/self/fd/N/name` is a path from an open folder. */
export const HAS_DESCRIPTOR_PATHS: boolean = process.platform === 'linux' && existsSync('/proc/self/fd');

const NOTHING: Native = {
  folders: undefined,
  fifos: undefined,
  devices: undefined,
  times: undefined,
  status: undefined,
  holes: undefined,
  locks: undefined,
  attributes: undefined,
};

let loaded: Native | undefined;
let koffi: Koffi | undefined;

/** Returns the calls that this machine has. The first use loads koffi, which takes about 7 ms. */
export function native(): Native {
  loaded ??= load();
  return loaded;
}

function load(): Native {
  // timespec and the rest are those of 64-bit systems.
  const isKnown = process.platform in PLATFORMS && !['arm', 'ia32', 'mips', 'mipsel'].includes(process.arch);
  if (!isKnown || process.env.NETSEAL_KOFFI === '0') return NOTHING;
  try {
    koffi = createRequire(import.meta.url)('koffi') as Koffi;
    return bindAll(koffi);
  } catch {
    // Not installed, or not for this machine: `nativeReport` tells.
    return NOTHING;
  }
}

function bindAll(present: Koffi): Native {
  const library = present.load(null);
  /** The calls of one group; undefined when one of them is missing. */
  function group<Calls>(...names: (CallName & keyof Calls)[]): Calls | undefined {
    try {
      return Object.fromEntries(names.map(name => [name, library.func(SIGNATURES[name])])) as Calls;
    } catch {
      return undefined;
    }
  }
  const isLinux = process.platform === 'linux';
  return {
    folders: group<FolderCalls>(
      'openat',
      'mkdirat',
      'symlinkat',
      'linkat',
      'renameat',
      'unlinkat',
      'fchownat',
    ),
    fifos: group<FifoCalls>('mkfifoat'),
    // Elsewhere a device's number has another form.
    devices: isLinux ? group<DeviceCalls>('mknodat') : undefined,
    times: group<TimeCalls>('utimensat', 'futimens'),
    status: isLinux ? group<StatusCalls>('statx') : undefined,
    holes: group<HoleCalls>('lseek'),
    locks: group<LockCalls>('flock'),
    // macOS has calls of these names with other arguments.
    attributes: isLinux
      ? group<AttributeCalls>(
          'flistxattr',
          'fgetxattr',
          'fsetxattr',
          'fremovexattr',
          'getxattr',
          'llistxattr',
          'lgetxattr',
        )
      : undefined,
  };
}

/** What this machine lacks, in words for the user. */
export interface NativeReport {
  /** What a copy loses, or does less safely: `extended attributes`, ... Empty when nothing is missing. */
  readonly missing: readonly string[];
}

export function nativeReport(): NativeReport {
  const { folders, times, holes, attributes } = native();
  const missing: string[] = [];
  if (attributes === undefined) missing.push('extended attributes');
  if (holes === undefined) missing.push('holes of files (read as zeros)');
  if (times === undefined) missing.push('times to the nanosecond (microseconds instead)');
  if (folders === undefined && !HAS_DESCRIPTOR_PATHS)
    missing.push('protection against folders that are swapped for links meanwhile');
  return { missing };
}

/** Returns the error of the last call, in the form of Node's own. */
export function systemError(syscall: string): NodeJS.ErrnoException {
  const errno = -(koffi?.errno() ?? 0);
  const code = getSystemErrorName(errno);
  return Object.assign(new Error(`${code}: ${getSystemErrorMessage(errno)}, ${syscall}`), {
    errno,
    code,
    syscall,
  });
}

/** True when the last call failed with this error. */
export function hasFailedWith(code: keyof typeof systemConstants.errno): boolean {
  return koffi?.errno() === systemConstants.errno[code];
}
