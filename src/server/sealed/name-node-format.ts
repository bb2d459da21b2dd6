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
 *   kind 0  an inode of any type but directory, embedded
 *   others  an inode that is an object of its own: 1 file, 2 symlink, 3 directory, 4 FIFO, 5 socket,
 *           6 character device, 7 block device
 *
 * A child's name is the `firstName` of `inode.ts`: no name below the child comes before it. Names are 1 to
 * 255 bytes of any value. A reader decides by itself whether a name is fit for its file system.
 */
import { type ByteReader, type ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { ID_BYTES } from '../../base/ids.ts';
import type { Name } from '../../base/name.ts';
import {
  type Departure,
  type DirectoryEntry,
  type EntryNode,
  INODE_TYPES,
  type InodeType,
  type NameChild,
  type NameNode,
  type ObjectReference,
} from './inode.ts';
import {
  decodeInodeHeader,
  decodeLinkable,
  encodeLinkable,
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

const EMBEDDED = 0;
/** The type of an entry by its kind, which is 0 for an embedded inode. */
const OBJECT_TYPES: readonly (InodeType | undefined)[] = [undefined, ...INODE_TYPES];
const KIND_BITS = 0b111;
const IS_LEAVING = 0x08;
const HAS_KEY = 0x10;
const FLAGS_MAX = 0x1f;

/** Writes a node. EINVAL for one that {@link decodeNameNodeFrom} would refuse. */
export function encodeNameNodeInto(out: ByteWriter, node: NameNode, table: SegmentTable): void {
  let previous: Name = '';
  if (node.kind === 'leaf') {
    out.u8(0);
    out.varint(node.entries.length);
    for (const entry of node.entries) {
      encodeName(out, entry.name, previous);
      encodeEntry(out, entry, table);
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

/** Reads a node. Throws EFORMAT or EUNSUPPORTED. */
export function decodeNameNodeFrom(input: ByteReader, segments: SegmentList): NameNode {
  const level = input.u8();
  if (level > NAME_LEVEL_MAX) throw input.error(`a node of level ${level}`);
  const bytesMin = level === 0 ? ENTRY_BYTES_MIN : CHILD_BYTES_MIN;
  const count = input.varint(Math.floor(input.restBytes / bytesMin));
  let previous: Name = '';
  if (level === 0) {
    const entries: DirectoryEntry[] = [];
    for (let at = 0; at < count; at += 1) {
      previous = decodeName(input, previous);
      entries.push(decodeEntry(input, previous, segments));
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
  return decodeFramed(bytes, 'directory node', decodeNameNodeFrom);
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

function encodeEntry(out: ByteWriter, { node, departure }: DirectoryEntry, table: SegmentTable): void {
  const kind = node.kind === 'embedded' ? EMBEDDED : OBJECT_TYPES.indexOf(node.type);
  const key = node.kind === 'object' && node.key !== node.id ? node.key : undefined;
  out.u8(kind | (departure === undefined ? 0 : IS_LEAVING) | (key === undefined ? 0 : HAS_KEY));
  if (node.kind === 'embedded') encodeLinkable(out, node.inode, table);
  else out.rawHex(node.id, ID_BYTES);
  if (key !== undefined) out.rawHex(key, ID_BYTES);
  if (departure === undefined) return;
  const { name } = departure;
  requireArgument(name.length > 0 && name.length <= NAME_BYTES_MAX, 'names have 1 to 255 bytes');
  out.rawHex(departure.token, ID_BYTES);
  out.rawHex(departure.directory, ID_BYTES);
  out.sizedLatin1(name);
}

function decodeEntry(input: ByteReader, name: Name, segments: SegmentList): DirectoryEntry {
  const word = input.u8();
  if (word > FLAGS_MAX) throw input.unsupported(`an entry with the bits 0x${word.toString(16)}`);
  const kind = word & KIND_BITS;
  if (kind === EMBEDDED && (word & HAS_KEY) !== 0) throw input.error('an embedded inode with a key');
  const node = decodeEntryNode(input, OBJECT_TYPES[kind], (word & HAS_KEY) !== 0, segments);
  return (word & IS_LEAVING) === 0 ? { name, node } : { name, node, departure: decodeDeparture(input) };
}

function decodeEntryNode(
  input: ByteReader,
  type: InodeType | undefined,
  hasKey: boolean,
  segments: SegmentList,
): EntryNode {
  if (type !== undefined) return decodeReference(input, type, hasKey);
  const header = decodeInodeHeader(input, segments);
  if (!isLinkableHeader(header)) throw input.error('an embedded directory');
  return { kind: 'embedded', inode: decodeLinkable(input, header, segments) };
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
  const nodeBytes =
    node.kind === 'embedded' ? linkableBytes(node.inode, before && lastSliceOf(before)) : 2 * ID_BYTES;
  const departureBytes = departure === undefined ? 0 : 2 * ID_BYTES + 2 + departure.name.length;
  return nameBytes(name) + 1 + nodeBytes + departureBytes;
}

function lastSliceOf({ node }: DirectoryEntry): Pointer | undefined {
  if (node.kind !== 'embedded' || node.inode.type !== 'file') return undefined;
  return node.inode.map.slots.findLast(({ pointer }) => isSlicePointer(pointer))?.pointer;
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
