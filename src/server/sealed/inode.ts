/** The types of inodes, directories and extent maps. `inode-format.ts` and its neighbours encode them. */
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { Extensions } from './extensions.ts';
import type { Pointer } from './pointer.ts';

export interface ExtendedAttribute {
  readonly key: Name;
  readonly value: Uint8Array;
}

/** All permission bits. */
export const MODE_MAX = 0o7777;
/** The highest id of an owner or a group. */
export const OWNER_MAX = 0xffff_ffff;

/** The attributes that a caller can set. Times are nanoseconds since 1970. */
export interface Attributes {
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
  /** The access time, if one was set: reading does not change it. Undefined for none. */
  readonly atimeNs?: bigint | undefined;
  /** Ascending by key. */
  readonly xattrs: readonly ExtendedAttribute[];
}

interface InodeBase extends Attributes {
  readonly id: Id;
  /** Grows with each commit of this inode. */
  readonly version: number;
  /** Grows with each change of the content. */
  readonly dataVersion: number;
  readonly ctimeNs: bigint;
  readonly birthNs: bigint;
  /** What a newer netseal has added. It is kept as it is. Undefined for nothing. */
  readonly extensions?: Extensions | undefined;
}

/** A node of an extent map: its slots, ascending. A slot that is not listed is a hole. */
export type MapSlots = readonly { readonly slot: number; readonly pointer: Pointer }[];

/**
 * The root of an extent map. At depth 0 its slots are units, otherwise they are map pages of level depth - 1.
 */
export interface MapRoot {
  readonly depth: number;
  readonly slots: MapSlots;
}

export interface FileInode extends InodeBase {
  readonly type: 'file';
  /** How many names lead to the file. A file with several is an object of its own. */
  readonly linkCount: number;
  readonly sizeBytes: number;
  readonly unitSizeBytes: number;
  /** How many bytes its sealed units take. */
  readonly storedBytes: number;
  readonly map: MapRoot;
}

export interface SymlinkInode extends InodeBase {
  readonly type: 'symlink';
  readonly linkCount: number;
  /** Raw bytes, 1 to 4,095. */
  readonly target: Uint8Array;
}

/** A FIFO or a socket: programs of one machine meet under its name, and it has no content. */
export interface PipeInode extends InodeBase {
  readonly type: 'fifo' | 'socket';
  readonly linkCount: number;
}

/** A device. The numbers say which: each is at most 2^32 - 1. */
export interface DeviceInode extends InodeBase {
  readonly type: 'characterDevice' | 'blockDevice';
  readonly linkCount: number;
  readonly major: number;
  readonly minor: number;
}

/** An inode that can have several names, or be embedded in its folder: any but a directory's. */
export type LinkableInode = FileInode | SymlinkInode | PipeInode | DeviceInode;

/** An entry of a directory: a name, with its inode embedded, or a reference to an inode object. */
export interface DirectoryEntry {
  readonly name: Name;
  readonly node: EntryNode;
  /** Set while the entry is being moved to another directory; see `moves.ts`. */
  readonly departure?: Departure | undefined;
}

export type EntryNode = { readonly kind: 'embedded'; readonly inode: Inode } | ObjectReference;

/** Leads to an inode that is an object of its own. */
export interface ObjectReference {
  readonly kind: 'object';
  readonly id: Id;
  /** The key of the object; undefined when that is the id. */
  readonly key?: Id | undefined;
  readonly type: InodeType;
}

/** Where an entry goes that is being moved: the directory, and its name there. */
export interface Departure {
  /** A random id of this move. */
  readonly token: Id;
  /** The key of the directory's object. */
  readonly directory: Id;
  readonly name: Name;
}

/** The outcome of a move into this directory. It is kept until the source's departure is cleared. */
export interface Arrival {
  readonly token: Id;
  /** The key of the object of the directory that the entry comes from. */
  readonly source: Id;
  readonly isAccepted: boolean;
}

/** A node of a directory's tree: entries, or children of the next level down. Both ascend by name. */
export type NameNode =
  | { readonly kind: 'leaf'; readonly entries: readonly DirectoryEntry[] }
  /** Its level is 1 or more. Its children are one level below; leaves are at level 0. */
  | { readonly kind: 'inner'; readonly level: number; readonly children: readonly NameChild[] };

export interface NameChild {
  /** No name below the child comes before this one. */
  readonly firstName: Name;
  /** The index that the child's record is sealed under. It is unique within the directory. */
  readonly index: number;
  readonly pointer: Pointer;
}

/**
 * A directory is an object of its own, or embedded in a leaf of its parent. An embedded one is part of the
 * nearest object above it, its host. It has no parent of its own, no arrivals and no former parent, and is
 * never dead. Below it are only embedded directories, and files, embedded or not.
 */
export interface DirectoryInode extends InodeBase {
  readonly type: 'directory';
  /** The key of the parent's object; undefined for an embedded directory. */
  readonly parent: Id | undefined;
  /**
   * While the directory is being moved to `parent`: the key of the directory that may still name it, and the
   * token of the move.
   */
  readonly formerParent?: { readonly directory: Id; readonly token: Id } | undefined;
  readonly entryCount: number;
  /** How many of the entries lead to directories. */
  readonly subdirectoryCount: number;
  /** The directory is removed: no entry can be added any more. */
  readonly isDead: boolean;
  readonly arrivals: readonly Arrival[];
  /** The index of the next node that is stored. */
  readonly nextIndex: number;
  readonly tree: NameNode;
}

export type Inode = LinkableInode | DirectoryInode;
export type InodeType = Inode['type'];

/** All types, in the order of their numbers in the stored form. */
export const INODE_TYPES: readonly InodeType[] = [
  'file',
  'symlink',
  'directory',
  'fifo',
  'socket',
  'characterDevice',
  'blockDevice',
];

/** Tells which commit made a version: each commit has a nonce of its own. */
export interface Writer {
  readonly version: number;
  /** 16 random bytes, in hexadecimal. */
  readonly nonce: Id;
}

/**
 * The content of an inode object: an inode, with its latest history. The object's key is the inode's id, or
 * another random id if the inode was put into the store before anything referred to it.
 */
export interface InodeObject {
  readonly inode: Inode;
  /** The latest commits, newest first; at most 16. */
  readonly writers: readonly Writer[];
  /** SHA-256, in hexadecimal, of the sealed record that this one replaced; undefined for the first. */
  readonly predecessor: string | undefined;
}
