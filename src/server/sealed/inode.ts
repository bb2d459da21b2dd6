/** What an inode says: the types that the layout's formats and the volume share. No bytes here; see `inode-format.ts`. */
import type { Id } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import type { Pointer } from './pointer.ts';

export interface ExtendedAttribute {
  readonly key: Name;
  readonly value: Uint8Array;
}

/** What a caller sets. Times are nanoseconds since 1970. */
export interface Attributes {
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeNs: bigint;
  /** Ascending by key. */
  readonly xattrs: readonly ExtendedAttribute[];
}

interface InodeBase extends Attributes {
  readonly id: Id;
  /** Higher with each commit of this inode. */
  readonly version: number;
  /** Higher with each change of content. */
  readonly dataVersion: number;
  readonly ctimeNs: bigint;
  readonly birthNs: bigint;
}

/** A node of an extent map: ascending slots; a slot that is not there is a hole. */
export type MapSlots = readonly { readonly slot: number; readonly pointer: Pointer }[];

/** depth 0: the slots are units; otherwise they are map pages of level depth - 1. */
export interface MapRoot {
  readonly depth: number;
  readonly slots: MapSlots;
}

export interface FileInode extends InodeBase {
  readonly type: 'file';
  /** Names that lead to it. A file with several is an object of its own. */
  readonly linkCount: number;
  readonly sizeBytes: number;
  readonly unitSizeBytes: number;
  /** Sum of the sealed units. */
  readonly storedBytes: number;
  readonly map: MapRoot;
}

export interface SymlinkInode extends InodeBase {
  readonly type: 'symlink';
  readonly linkCount: number;
  /** Raw bytes, 1 to 4,095. */
  readonly target: Uint8Array;
}

/** A directory entry: its inode, embedded or by id. */
export interface DirectoryEntry {
  readonly name: Name;
  readonly node: EntryNode;
  /** On its way to another directory; see `moves.ts`. */
  readonly departure?: Departure | undefined;
}

export type EntryNode =
  | { readonly kind: 'embedded'; readonly inode: FileInode | SymlinkInode }
  | { readonly kind: 'object'; readonly id: Id; readonly type: InodeType };

export interface Departure {
  /** Random, of this one move. */
  readonly token: Id;
  readonly directory: Id;
  readonly name: Name;
}

/** What became of a move into this directory; kept until its source is cleared. */
export interface Arrival {
  readonly token: Id;
  readonly source: Id;
  readonly isAccepted: boolean;
}

/** A node of a directory's tree: entries, or children of the next level down; ascending by name. */
export type NameNode =
  | { readonly kind: 'leaf'; readonly entries: readonly DirectoryEntry[] }
  /** level: 1 and up; its children are one level below, leaves at 0. */
  | { readonly kind: 'inner'; readonly level: number; readonly children: readonly NameChild[] };

export interface NameChild {
  /** No name below it comes before this one. */
  readonly firstName: Name;
  /** The index that the node's record is sealed under: unique within the directory. */
  readonly index: number;
  readonly pointer: Pointer;
}

export interface DirectoryInode extends InodeBase {
  readonly type: 'directory';
  readonly parent: Id;
  /** Where it may still be found while it is on its way to `parent`, and which move that is. */
  readonly formerParent?: { readonly directory: Id; readonly token: Id } | undefined;
  readonly entryCount: number;
  /** Removed: nothing may be put into it any more. */
  readonly isDead: boolean;
  readonly arrivals: readonly Arrival[];
  /** The next leaf record's index. */
  readonly nextIndex: number;
  readonly tree: NameNode;
}

export type Inode = FileInode | SymlinkInode | DirectoryInode;
export type InodeType = Inode['type'];

/** Who committed which version; the nonce is one commit's own. */
export interface Writer {
  readonly version: number;
  /** 16 bytes as hexadecimal. */
  readonly nonce: Id;
}

/** An inode as an object of its own keeps it. */
export interface InodeRecord {
  readonly inode: Inode;
  /** The last 16 at most, newest first. */
  readonly writers: readonly Writer[];
  /** SHA-256 of the sealed record that this one replaced, as hexadecimal; undefined for the first. */
  readonly predecessor: string | undefined;
}
