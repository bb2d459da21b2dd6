/**
 * The bytes of inodes of all types, and the plaintext of an inode object. The inode header, and all types but
 * directories, are in `inode-body.ts`. `docs/LAYOUT.md`, "Inodes", is the specification. Pure.
 *
 *   -- a directory goes on after the inode header with --
 *   16      parent
 *   1       1 when a former parent follows, else 0
 *   16, 16  former parent and the token of the move, if so
 *   varint  number of entries in the whole tree
 *   varint  number of directories among them
 *   varint  next index
 *   varint  number of arrivals
 *   -       each: token 16, source 16, 1: 1 for accepted, else 0
 *   -       the tree's root: a name node
 *
 *   -- an inode object, in a frame --
 *   1       bit 0 there is a predecessor: the record that this one replaced; others 0
 *   32      the predecessor's SHA-256, if so
 *   1       number of writers, 0 to 16: the latest commits, newest first
 *   -       each: varint version (from the second on: how much less it is than the previous one), nonce 16
 *   -       the inode
 */
import type { ByteReader, ByteWriter } from '../../base/coder.ts';
import { requireArgument } from '../../base/errors.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';
import type { Arrival, DirectoryInode, Inode, InodeObject, Writer } from './inode.ts';
import {
  decodeInodeHeader,
  decodeLinkable,
  encodeInodeHeader,
  encodeLinkable,
  type InodeHeader,
  isLinkableHeader,
} from './inode-body.ts';
import { decodeNameNodeFrom, encodeNameNodeInto } from './name-node-format.ts';
import { decodeFramed, encodeFramed } from './node-frame.ts';
import type { SegmentList, SegmentTable } from './pointer.ts';

export const WRITERS_MAX = 16;
const HASH_BYTES = 32;
const HAS_PREDECESSOR = 0x01;
const ARRIVAL_BYTES: number = 2 * ID_BYTES + 1;

/** Writes an inode. EINVAL for one that {@link decodeInode} would refuse. */
export function encodeInode(out: ByteWriter, inode: Inode, table: SegmentTable): void {
  if (inode.type !== 'directory') {
    encodeLinkable(out, inode, table);
    return;
  }
  requireArgument(inode.parent !== undefined, 'a directory that is an object has a parent');
  requireArgument(inode.subdirectoryCount <= inode.entryCount, 'more directories than entries');
  encodeInodeHeader(out, inode, inode.isDead, table);
  out.rawHex(inode.parent, ID_BYTES);
  out.u8(inode.formerParent === undefined ? 0 : 1);
  if (inode.formerParent !== undefined) {
    out.rawHex(inode.formerParent.directory, ID_BYTES);
    out.rawHex(inode.formerParent.token, ID_BYTES);
  }
  out.varint(inode.entryCount);
  out.varint(inode.subdirectoryCount);
  out.varint(inode.nextIndex);
  out.varint(inode.arrivals.length);
  for (const { token, source, isAccepted } of inode.arrivals) {
    out.rawHex(token, ID_BYTES);
    out.rawHex(source, ID_BYTES);
    out.u8(isAccepted ? 1 : 0);
  }
  encodeNameNodeInto(out, inode.tree, table);
}

/** Reads an inode. Throws EFORMAT or EUNSUPPORTED. */
export function decodeInode(input: ByteReader, segments: SegmentList): Inode {
  const header = decodeInodeHeader(input, segments);
  if (isLinkableHeader(header)) return decodeLinkable(input, header, segments);
  return decodeDirectory(input, header, segments);
}

function decodeDirectory(input: ByteReader, header: InodeHeader, segments: SegmentList): DirectoryInode {
  const parent = input.hex(ID_BYTES);
  const hasFormer = input.u8();
  if (hasFormer > 1) throw input.error(`flags ${hasFormer} before a former parent`);
  const former =
    hasFormer === 1 ? { formerParent: { directory: input.hex(ID_BYTES), token: input.hex(ID_BYTES) } } : {};
  const entryCount = input.varint();
  const subdirectoryCount = input.varint(entryCount);
  const nextIndex = input.varint();
  const arrivalCount = input.varint(Math.floor(input.restBytes / ARRIVAL_BYTES));
  const arrivals = Array.from({ length: arrivalCount }, () => decodeArrival(input));
  const tree = decodeNameNodeFrom(input, segments);
  return {
    ...header.base,
    type: 'directory',
    parent,
    ...former,
    entryCount,
    subdirectoryCount,
    isDead: header.hasLinkMark,
    arrivals,
    nextIndex,
    tree,
  };
}

function decodeArrival(input: ByteReader): Arrival {
  const token = input.hex(ID_BYTES);
  const source = input.hex(ID_BYTES);
  const answer = input.u8();
  if (answer > 1) throw input.error(`an arrival with answer ${answer}`);
  return { token, source, isAccepted: answer === 1 };
}

/** Encodes the plaintext of an inode object. EINVAL for one that {@link decodeInodeObject} would refuse. */
export function encodeInodeObject({ inode, writers, predecessor }: InodeObject): Uint8Array<ArrayBuffer> {
  return encodeFramed((out, table) => {
    out.u8(predecessor === undefined ? 0 : HAS_PREDECESSOR);
    if (predecessor !== undefined) out.rawHex(predecessor, HASH_BYTES);
    encodeWriters(out, writers);
    encodeInode(out, inode, table);
  });
}

/** Decodes the plaintext of the inode object that has a key. Throws EFORMAT or EUNSUPPORTED. */
export function decodeInodeObject(bytes: Uint8Array, key: Id): InodeObject {
  return decodeFramed(bytes, `inode ${key}`, (input, segments) => {
    const flags = input.u8();
    if (flags > HAS_PREDECESSOR) throw input.error(`unknown flags 0x${flags.toString(16)}`);
    const predecessor = flags === HAS_PREDECESSOR ? input.hex(HASH_BYTES) : undefined;
    const writers = decodeWriters(input);
    return { inode: decodeInode(input, segments), writers, predecessor };
  });
}

function encodeWriters(out: ByteWriter, writers: readonly Writer[]): void {
  requireArgument(writers.length <= WRITERS_MAX, `an inode keeps ${WRITERS_MAX} writers at most`);
  out.u8(writers.length);
  let previous: number | undefined;
  for (const { version, nonce } of writers) {
    // A difference may be a whole number though the version is none: 2^52 + 1 - 0.5 is rounded.
    requireArgument(
      Number.isSafeInteger(version) && version >= 0 && (previous === undefined || version < previous),
      'writers must be newest first, of versions from 0',
    );
    out.varint(previous === undefined ? version : previous - version);
    out.rawHex(nonce, ID_BYTES);
    previous = version;
  }
}

function decodeWriters(input: ByteReader): readonly Writer[] {
  const count = input.u8();
  if (count > WRITERS_MAX) throw input.error(`${count} writers`);
  const writers: Writer[] = [];
  let previous: number | undefined;
  for (let at = 0; at < count; at += 1) {
    const number = input.varint(previous);
    if (number === 0 && previous !== undefined) throw input.error('two writers of one version');
    const version = previous === undefined ? number : previous - number;
    writers.push({ version, nonce: input.hex(ID_BYTES) });
    previous = version;
  }
  return writers;
}
