/**
 * The bytes of a node of a directory's tree. The root lies in the directory's inode; every other node is a
 * record. `docs/LAYOUT.md`, "Name nodes", is the specification. Pure.
 *
 *   1       level: 0 for a leaf, 1 or more for an inner node
 *   varint  number of entries (leaf) or children (inner node)
 *   -- each begins with a name; they ascend strictly by name --
 *   varint  how many leading bytes the name shares with the previous one, as many as possible
 *   sized   the rest of the name
 *   -- an entry of a leaf goes on with --
 *   1       bits 0-2 kind, see below; bit 3 a departure follows; bit 4 a key follows; others 0, or a newer netseal is needed
 *   -       kind 0: the inode, as `inode-body.ts` has it; otherwise its id, 16 bytes
 *   16      if bit 4: the key of its object, which is not its id
 *   16      if bit 3: token of the move that takes the entry to another directory
 *   16      if bit 3: key of that directory
 *   sized   if bit 3: name in that directory
 *   -- a child of an inner node goes on with --
 *   varint  index that its record is sealed under
 *   -       pointer to its record, which is no pack
 *
 *   kind 0  an inode, embedded
 *   others  an inode that is an object of its own: 1 file, 2 symlink, 3 directory, 4 FIFO, 5 socket,
 *           6 character device, 7 block device
 *   -- an embedded directory is its inode header, then --
 *   varint  number of entries in the whole tree
 *   varint  number of directories among them
 *   varint  next index
 *   -       the tree's root: a node
 *
 * An embedded directory takes at most 4 KiB. In one record, at most eight lie within one another. None holds
 * a directory that is an object, or an entry that is being moved.
 *
 * A child's name is the `firstName` of `inode.ts`: no name below the child comes before it. Names are 1 to
 * 255 bytes of any value. A reader decides by itself whether a name is fit for its file system.
 */
import { type ByteReader, type ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { KIB } from '../../base/geometry.ts';
import { ID_BYTES } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import {
  type Departure,
  type DirectoryEntry,
  type DirectoryInode,
  type EntryNode,
  INODE_TYPES,
  type Inode,
  type InodeType,
  type NameChild,
  type NameNode,
  type ObjectReference,
} from './inode.ts';
import {
  decodeInodeHeader,
  decodeLinkable,
  encodeInodeHeader,
  encodeLinkable,
  type InodeHeader,
  inodeHeaderBytes,
  isLinkableHeader,
  linkableBytes,
  NAME_BYTES_MAX,
} from './inode-body.ts';
import { decodeFramed, encodeFramed, FRAME_BYTES_MAX } from './node-frame.ts';
import {
  decodeWholePointer,
  encodeWholePointer,
  isSlicePointer,
  type Pointer,
  pointerBytes,
  type SegmentList,
  type SegmentTable,
  WHOLE_POINTER_BYTES_MIN,
} from './pointer.ts';

export const NAME_LEVEL_MAX = 15;

/** The shortest entry: one byte each of shared length, rest's length, rest and kind; then the id. */
const ENTRY_BYTES_MIN: number = 4 + ID_BYTES;
/** The shortest child: one byte each of shared length, rest's length, rest and index; then the pointer. */
const CHILD_BYTES_MIN: number = 4 + WHOLE_POINTER_BYTES_MIN;

/** The most that an embedded directory takes, encoded, with what is embedded in it. */
export const FOLDER_BYTES_MAX: number = 4 * KIB;
/** How many embedded directories may lie within one another in one record. */
export const NESTING_MAX = 8;

const EMBEDDED = 0;
/** The type of an entry by its kind, which is 0 for an embedded inode. */
const OBJECT_TYPES: readonly (InodeType | undefined)[] = [undefined, ...INODE_TYPES];
const KIND_BITS = 0b111;
const IS_LEAVING = 0x08;
const HAS_KEY = 0x10;
const FLAGS_MAX = 0x1f;

/**
 * Writes a node. EINVAL for one that {@link decodeNameNodeFrom} would refuse.
 *
 * @param nesting how many embedded directories it lies in, in the same record.
 */
export function encodeNameNodeInto(
  out: ByteWriter,
  node: NameNode,
  table: SegmentTable,
  nesting: number = 0,
): void {
  let previous: Name = '';
  if (node.kind === 'leaf') {
    out.u8(0);
    out.varint(node.entries.length);
    for (const entry of node.entries) {
      encodeName(out, entry.name, previous);
      encodeEntry(out, entry, table, nesting);
      previous = entry.name;
    }
    return;
  }
  requireArgument(
    Number.isInteger(node.level) && node.level >= 1 && node.level <= NAME_LEVEL_MAX,
    `an inner node of level ${node.level}`,
  );
  requireArgument(node.children.length > 0, 'an inner node without children');
  out.u8(node.level);
  out.varint(node.children.length);
  for (const { firstName, index, pointer } of node.children) {
    encodeName(out, firstName, previous);
    out.varint(index);
    encodeWholePointer(out, pointer, table);
    previous = firstName;
  }
}

/**
 * Reads a node. Throws EFORMAT or EUNSUPPORTED.
 *
 * @param nesting how many embedded directories it lies in, in the same record.
 */
export function decodeNameNodeFrom(input: ByteReader, segments: SegmentList, nesting: number = 0): NameNode {
  const level = input.u8();
  if (level > NAME_LEVEL_MAX) throw input.error(`a node of level ${level}`);
  const bytesMin = level === 0 ? ENTRY_BYTES_MIN : CHILD_BYTES_MIN;
  const count = input.varint(Math.floor(input.restBytes / bytesMin));
  let previous: Name = '';
  if (level === 0) {
    const entries: DirectoryEntry[] = [];
    for (let at = 0; at < count; at += 1) {
      previous = decodeName(input, previous);
      entries.push(decodeEntry(input, previous, segments, nesting));
    }
    return { kind: 'leaf', entries };
  }
  if (count === 0) throw input.error('an inner node without children');
  const children: NameChild[] = [];
  for (let at = 0; at < count; at += 1) {
    previous = decodeName(input, previous);
    const index = input.varint();
    children.push({ firstName: previous, index, pointer: decodeWholePointer(input, segments) });
  }
  return { kind: 'inner', level, children };
}

/** Encodes the plaintext of a node's record. EINVAL for a node that {@link decodeNameNode} would refuse. */
export function encodeNameNode(node: NameNode): Uint8Array<ArrayBuffer> {
  return encodeFramed((out, table) => encodeNameNodeInto(out, node, table), 4096);
}

/** Decodes the plaintext of a node's record. Throws EFORMAT or EUNSUPPORTED. */
export function decodeNameNode(bytes: Uint8Array): NameNode {
  return decodeFramed(bytes, 'directory node', (input, segments) => decodeNameNodeFrom(input, segments));
}

function encodeName(out: ByteWriter, name: Name, previous: Name): void {
  if (name <= previous || name.length > NAME_BYTES_MAX) {
    throw new NetsealError('EINVAL', 'names must be ascending, of 1 to 255 bytes');
  }
  let shared = 0;
  // Ends before the end of `name`: `previous` comes before `name`, so it does not begin with all of it.
  while (shared < previous.length && name.charCodeAt(shared) === previous.charCodeAt(shared)) shared += 1;
  out.varint(shared);
  out.varint(name.length - shared);
  out.rawLatin1(name, shared);
}

function decodeName(input: ByteReader, previous: Name): Name {
  const shared = input.varint(previous.length);
  const rest = input.sizedLatin1(NAME_BYTES_MAX - shared);
  // The first byte of the rest must be greater than that of `previous` at this place. Then the name comes
  // later, and no longer part could be shared.
  if (rest === '' || (shared < previous.length && rest.charCodeAt(0) <= previous.charCodeAt(shared))) {
    throw input.error('names out of order, or one is empty');
  }
  return previous.slice(0, shared) + rest;
}

function encodeEntry(
  out: ByteWriter,
  { node, departure }: DirectoryEntry,
  table: SegmentTable,
  nesting: number,
): void {
  requireArgument(nesting === 0 || !isForbiddenBelow(node, departure), 'not for an embedded directory');
  const kind = node.kind === 'embedded' ? EMBEDDED : OBJECT_TYPES.indexOf(node.type);
  const key = node.kind === 'object' && node.key !== node.id ? node.key : undefined;
  out.u8(kind | (departure === undefined ? 0 : IS_LEAVING) | (key === undefined ? 0 : HAS_KEY));
  if (node.kind === 'embedded') {
    const { inode } = node;
    if (inode.type === 'directory') encodeEmbeddedDirectory(out, inode, table, nesting + 1);
    else encodeLinkable(out, inode, table);
  }
  if (node.kind === 'object') out.rawHex(node.id, ID_BYTES);
  if (key !== undefined) out.rawHex(key, ID_BYTES);
  if (departure === undefined) return;
  const { name } = departure;
  requireArgument(name.length > 0 && name.length <= NAME_BYTES_MAX, 'names have 1 to 255 bytes');
  out.rawHex(departure.token, ID_BYTES);
  out.rawHex(departure.directory, ID_BYTES);
  out.sizedLatin1(name);
}

/** True for what an embedded directory must not hold: a directory that is an object, an entry that moves. */
function isForbiddenBelow(node: EntryNode, departure: Departure | undefined): boolean {
  return departure !== undefined || (node.kind === 'object' && node.type === 'directory');
}

function encodeEmbeddedDirectory(
  out: ByteWriter,
  inode: DirectoryInode,
  table: SegmentTable,
  nesting: number,
): void {
  const { parent, formerParent, arrivals, isDead } = inode;
  requireArgument(
    parent === undefined && formerParent === undefined && arrivals.length === 0 && !isDead,
    'an embedded directory has no parent and no moves of its own',
  );
  requireArgument(nesting <= NESTING_MAX, `more than ${NESTING_MAX} directories embedded in one another`);
  const before = out.lengthBytes;
  requireArgument(inode.subdirectoryCount <= inode.entryCount, 'more directories than entries');
  encodeInodeHeader(out, inode, false, table);
  out.varint(inode.entryCount);
  out.varint(inode.subdirectoryCount);
  out.varint(inode.nextIndex);
  encodeNameNodeInto(out, inode.tree, table, nesting);
  requireArgument(out.lengthBytes - before <= FOLDER_BYTES_MAX, 'an embedded directory is too large');
}

function decodeEmbeddedDirectory(
  input: ByteReader,
  { base, hasLinkMark }: InodeHeader,
  segments: SegmentList,
  nesting: number,
): DirectoryInode {
  if (hasLinkMark) throw input.error('an embedded directory that was removed');
  if (nesting > NESTING_MAX) throw input.error(`more than ${NESTING_MAX} directories in one another`);
  const entryCount = input.varint();
  return {
    ...base,
    type: 'directory',
    parent: undefined,
    entryCount,
    subdirectoryCount: input.varint(entryCount),
    isDead: false,
    arrivals: [],
    nextIndex: input.varint(),
    tree: decodeNameNodeFrom(input, segments, nesting),
  };
}

function decodeEntry(input: ByteReader, name: Name, segments: SegmentList, nesting: number): DirectoryEntry {
  const word = input.u8();
  if (word > FLAGS_MAX) throw input.unsupported(`an entry with the bits 0x${word.toString(16)}`);
  const kind = word & KIND_BITS;
  if (kind === EMBEDDED && (word & HAS_KEY) !== 0) throw input.error('an embedded inode with a key');
  const type = OBJECT_TYPES[kind];
  const node =
    type === undefined
      ? decodeEmbedded(input, segments, nesting + 1)
      : decodeReference(input, type, (word & HAS_KEY) !== 0);
  const departure = (word & IS_LEAVING) === 0 ? undefined : decodeDeparture(input);
  if (nesting > 0 && isForbiddenBelow(node, departure)) {
    throw input.error('an entry that an embedded directory cannot have');
  }
  return departure === undefined ? { name, node } : { name, node, departure };
}

function decodeEmbedded(input: ByteReader, segments: SegmentList, nesting: number): EntryNode {
  const before = input.restBytes;
  const header = decodeInodeHeader(input, segments);
  if (isLinkableHeader(header)) {
    return { kind: 'embedded', inode: decodeLinkable(input, header, segments) };
  }
  const inode = decodeEmbeddedDirectory(input, header, segments, nesting);
  if (before - input.restBytes > FOLDER_BYTES_MAX)
    throw input.error('an embedded directory that is too large');
  return { kind: 'embedded', inode };
}

function decodeReference(input: ByteReader, type: InodeType, hasKey: boolean): ObjectReference {
  const id = input.hex(ID_BYTES);
  if (!hasKey) return { kind: 'object', id, type };
  const key = input.hex(ID_BYTES);
  if (key === id) throw input.error('a key that is the id');
  return { kind: 'object', id, key, type };
}

function decodeDeparture(input: ByteReader): Departure {
  const token = input.hex(ID_BYTES);
  const directory = input.hex(ID_BYTES);
  const name = input.sizedLatin1(NAME_BYTES_MAX);
  if (name === '') throw input.error('a departure without a name');
  return { token, directory, name };
}

/**
 * Returns an upper bound for the bytes that an entry adds to a leaf. Segments that other entries name as well
 * are counted for each. A node takes at most the sum of its entries' bounds and {@link NODE_BYTES_MAX}.
 *
 * @param before the previous entry of the leaf. If the content of both lies in one pack, this one is shorter.
 */
export function entryBytes({ name, node, departure }: DirectoryEntry, before?: DirectoryEntry): number {
  const nodeBytes = node.kind === 'embedded' ? embeddedBytes(node.inode, before) : 2 * ID_BYTES;
  const departureBytes = departure === undefined ? 0 : 2 * ID_BYTES + 2 + departure.name.length;
  return nameBytes(name) + 1 + nodeBytes + departureBytes;
}

function lastSliceOf({ node }: DirectoryEntry): Pointer | undefined {
  if (node.kind !== 'embedded' || node.inode.type !== 'file') return undefined;
  return node.inode.map.slots.findLast(({ pointer }) => isSlicePointer(pointer))?.pointer;
}

function embeddedBytes(inode: Inode, before: DirectoryEntry | undefined): number {
  if (inode.type !== 'directory') return linkableBytes(inode, before && lastSliceOf(before));
  return folderHeadBytes(inode) + nodeBytesOf(inode.tree);
}

/** Returns an upper bound for the bytes that an embedded directory takes besides its root's entries. */
export function folderHeadBytes(inode: DirectoryInode): number {
  const root = 1 + varintBytes(inode.entryCount);
  const counts = varintBytes(inode.entryCount) + varintBytes(inode.subdirectoryCount);
  return inodeHeaderBytes(inode) + counts + varintBytes(inode.nextIndex) + root;
}

/** Returns an upper bound for the bytes that the entries or children of a node take. */
export function nodeBytesOf(node: NameNode): number {
  return node.kind === 'leaf'
    ? node.entries.reduce((sum, entry, at, all) => sum + entryBytes(entry, all[at - 1]), 0)
    : node.children.reduce((sum, child) => sum + childBytes(child), 0);
}

/** Returns how many embedded directories lie within one another in a node, at most. */
export function nestingOf(node: NameNode): number {
  if (node.kind === 'inner') return 0;
  let nesting = 0;
  for (const { node: below } of node.entries) {
    if (below.kind !== 'embedded' || below.inode.type !== 'directory') continue;
    nesting = Math.max(nesting, 1 + nestingOf(below.inode.tree));
  }
  return nesting;
}

/** Returns an upper bound for the bytes that a child adds to an inner node; see {@link entryBytes}. */
export function childBytes({ firstName, index, pointer }: NameChild): number {
  return nameBytes(firstName) + varintBytes(index) + pointerBytes(pointer);
}

/** An upper bound for what a node's record takes besides its entries or children. */
export const NODE_BYTES_MAX: number = FRAME_BYTES_MAX;

function nameBytes(name: Name): number {
  return 4 + name.length;
}
