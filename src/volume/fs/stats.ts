/** What `stat` and `readdir` tell, in the shape of `Stats` and `Dirent` of `node:fs`. */
import type { BigIntStats, Stats } from 'node:fs';
import type { Inode, InodeType } from '../../server/sealed/inode.ts';

const TYPE_BITS: Readonly<Record<InodeType, number>> = {
  fifo: 0o010000,
  characterDevice: 0o020000,
  directory: 0o040000,
  blockDevice: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};
const BLOCK_BYTES = 512n;
const PAGE_BYTES = 4096;
/** A number holds so many bits of an id exactly. */
const NUMBER_BITS = 53;

/** The base of everything that has the type of an inode. */
class Typed {
  readonly #type: InodeType;

  constructor(type: InodeType) {
    this.#type = type;
  }

  isFile(): boolean {
    return this.#type === 'file';
  }
  isDirectory(): boolean {
    return this.#type === 'directory';
  }
  isBlockDevice(): boolean {
    return this.#type === 'blockDevice';
  }
  isCharacterDevice(): boolean {
    return this.#type === 'characterDevice';
  }
  isSymbolicLink(): boolean {
    return this.#type === 'symlink';
  }
  isFIFO(): boolean {
    return this.#type === 'fifo';
  }
  isSocket(): boolean {
    return this.#type === 'socket';
  }
}

/** An entry of a folder. */
export class VolumeDirent<Name extends string | Buffer = string> extends Typed {
  readonly name: Name;
  /** The path of its folder. */
  readonly parentPath: string;

  constructor(name: Name, parentPath: string, type: InodeType) {
    super(type);
    this.name = name;
    this.parentPath = parentPath;
  }
}

/** Facts that an open file knows more recently than its inode in the store. */
export interface FileNow {
  readonly sizeBytes: number;
  /** Undefined when it has no changes that are not committed. */
  readonly changedAtMs: number | undefined;
}

export class VolumeStats extends Typed implements Stats {
  readonly dev: number;
  /** As many bits of the inode's id as a number holds. */
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  readonly blksize: number;
  readonly blocks: number;
  readonly atimeMs: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
  readonly birthtimeMs: number;

  constructor(inode: Inode, now?: FileNow) {
    super(inode.type);
    const values = valuesOf(inode, now);
    this.dev = 0;
    this.ino = Number(BigInt.asUintN(NUMBER_BITS, values.ino));
    this.mode = Number(values.mode);
    this.nlink = Number(values.nlink);
    this.uid = inode.uid;
    this.gid = inode.gid;
    this.rdev = Number(values.rdev);
    this.size = Number(values.size);
    this.blksize = Number(values.blksize);
    this.blocks = Number(values.blocks);
    this.atimeMs = exactMs(values.atimeNs);
    this.mtimeMs = exactMs(values.mtimeNs);
    this.ctimeMs = exactMs(values.ctimeNs);
    this.birthtimeMs = exactMs(values.birthtimeNs);
  }

  get atime(): Date {
    return toDate(this.atimeMs);
  }
  get mtime(): Date {
    return toDate(this.mtimeMs);
  }
  get ctime(): Date {
    return toDate(this.ctimeMs);
  }
  get birthtime(): Date {
    return toDate(this.birthtimeMs);
  }
}

export class BigIntVolumeStats extends Typed implements BigIntStats {
  readonly dev = 0n;
  /** The first 64 bits of the inode's id. */
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly uid: bigint;
  readonly gid: bigint;
  readonly rdev: bigint;
  readonly size: bigint;
  readonly blksize: bigint;
  readonly blocks: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;

  constructor(inode: Inode, now?: FileNow) {
    super(inode.type);
    const values = valuesOf(inode, now);
    this.ino = values.ino;
    this.mode = values.mode;
    this.nlink = values.nlink;
    this.uid = BigInt(inode.uid);
    this.gid = BigInt(inode.gid);
    this.rdev = values.rdev;
    this.size = values.size;
    this.blksize = values.blksize;
    this.blocks = values.blocks;
    this.atimeNs = values.atimeNs;
    this.mtimeNs = values.mtimeNs;
    this.ctimeNs = values.ctimeNs;
    this.birthtimeNs = values.birthtimeNs;
  }

  get atimeMs(): bigint {
    return this.atimeNs / 1_000_000n;
  }
  get mtimeMs(): bigint {
    return this.mtimeNs / 1_000_000n;
  }
  get ctimeMs(): bigint {
    return this.ctimeNs / 1_000_000n;
  }
  get birthtimeMs(): bigint {
    return this.birthtimeNs / 1_000_000n;
  }
  get atime(): Date {
    return toDate(exactMs(this.atimeNs));
  }
  get mtime(): Date {
    return toDate(exactMs(this.mtimeNs));
  }
  get ctime(): Date {
    return toDate(exactMs(this.ctimeNs));
  }
  get birthtime(): Date {
    return toDate(exactMs(this.birthtimeNs));
  }
}

interface Values {
  readonly ino: bigint;
  readonly mode: bigint;
  readonly nlink: bigint;
  readonly rdev: bigint;
  readonly size: bigint;
  readonly blksize: bigint;
  readonly blocks: bigint;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
}

function valuesOf(inode: Inode, now: FileNow | undefined): Values {
  const changedNs =
    now?.changedAtMs === undefined ? undefined : BigInt(Math.trunc(now.changedAtMs)) * 1_000_000n;
  const isDevice = inode.type === 'characterDevice' || inode.type === 'blockDevice';
  return {
    ino: BigInt(`0x${inode.id.slice(0, 16)}`),
    mode: BigInt(TYPE_BITS[inode.type] | inode.mode),
    nlink: BigInt(inode.type === 'directory' ? 2 + inode.subdirectoryCount : inode.linkCount),
    rdev: isDevice ? (BigInt(inode.major) << 8n) | BigInt(inode.minor) : 0n,
    size: BigInt(now?.sizeBytes ?? sizeOf(inode)),
    blksize: BigInt(inode.type === 'file' ? inode.unitSizeBytes : PAGE_BYTES),
    blocks: inode.type === 'file' ? (BigInt(inode.storedBytes) + BLOCK_BYTES - 1n) / BLOCK_BYTES : 0n,
    atimeNs: inode.atimeNs ?? inode.mtimeNs,
    mtimeNs: changedNs ?? inode.mtimeNs,
    ctimeNs: changedNs ?? inode.ctimeNs,
    birthtimeNs: inode.birthNs,
  };
}

function sizeOf(inode: Inode): number {
  if (inode.type === 'file') return inode.sizeBytes;
  return inode.type === 'symlink' ? inode.target.byteLength : 0;
}

function exactMs(timeNs: bigint): number {
  return Number(timeNs / 1_000_000n) + Number(timeNs % 1_000_000n) / 1e6;
}

function toDate(timeMs: number): Date {
  return new Date(Math.round(timeMs));
}
