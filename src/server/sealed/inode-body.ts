/**
 * The bytes of inodes of all types but directories. A directory's leaf embeds them as they are. Also the
 * bytes of the inode header, which directories have as well. `docs/LAYOUT.md`, "Inodes", is the
 * specification. Pure.
 *
 * A size of 1, 8 or 16 is in bytes. "varint" is a number and "sized" a length with so many bytes, see
 * `coder.ts`.
 *
 *   -- inode header --
 *   1       first byte, see below
 *   1       second byte, if bit 7 of the first: it is not 0
 *   16      id
 *   varint  version
 *   varint  data version
 *   varint  mode
 *   varint  uid
 *   varint  gid
 *   8       mtime, signed, in ns since 1970, as all times
 *   -       ctime, birth, atime: by their forms, see below
 *   -       if there are extended attributes: varint count, from 1; each, ascending: sized key, sized value
 *   -       extensions, if there are any, see `extensions.ts`
 *   varint  link count, if it is not 1; directories have none
 *   -- a file goes on with --
 *   varint  size of the file
 *   1       bits 0-4 log2 of the unit size; bits 5-7 depth of the map
 *   varint  stored bytes
 *   -       slots of the map's root, see `map-format.ts`
 *   -- a symlink goes on with --
 *   sized   target
 *   -- a device goes on with --
 *   varint  major number
 *   varint  minor number
 *   -- FIFOs and sockets end here --
 *
 * The first byte:
 *
 *   bits 0-2  type: 0 file, 1 symlink, 2 directory, 3 FIFO, 4 socket, 5 character device, 6 block device
 *   bits 3-4  form of ctime
 *   bits 5-6  form of birth
 *   bit 7     the second byte follows
 *
 * The second byte:
 *
 *   bits 0-1  form of atime
 *   bit 2     there are extended attributes
 *   bit 3     directory: it was removed; all others: the link count is not 1
 *   bit 4     there are extensions
 *   bits 5-7  0, or a newer netseal is needed
 *
 * The forms of a time. Each time has only one form that fits, the first of:
 *
 *   form  ctime                        birth                          atime
 *   0     nothing: equal to mtime      nothing: equal to ctime        nothing: there is none
 *   1     varint: ns after mtime       varint: ns before ctime        varint, also 0: ns after mtime
 *   2     8 bytes, as mtime            8 bytes, as mtime              8 bytes, as mtime
 *   3     a newer netseal is needed    likewise                       likewise
 *
 * The varint is at most 2^53 - 1.
 */
import { type ByteReader, ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { sizeToUnitCount, UNIT_BYTES_MAX, UNIT_BYTES_MIN, unitSizeToLog2 } from '../../base/geometry.ts';
import { ID_BYTES } from '../../base/ids.ts';
import { decodeExtensions, type Extensions, encodeExtensions, extensionsBytes } from './extensions.ts';
import {
  type DeviceInode,
  type ExtendedAttribute,
  type FileInode,
  INODE_TYPES,
  type Inode,
  type InodeType,
  type LinkableInode,
  MODE_MAX,
  OWNER_MAX,
  type PipeInode,
} from './inode.ts';
import {
  decodeMapSlotsFrom,
  encodeMapSlotsInto,
  MAP_DEPTH_MAX,
  mapSlotsBytes,
  ROOT_SLOTS,
  unitsPerSlot,
} from './map-format.ts';
import { type Pointer, type SegmentList, SegmentTable } from './pointer.ts';

export const NAME_BYTES_MAX = 255;
export const XATTR_VALUE_BYTES_MAX: number = 64 * 1024;
export const TARGET_BYTES_MAX = 4095;
const LINK_COUNT_MAX = 0xffff_ffff;

export const DEVICE_NUMBER_MAX = 0xffff_ffff;

const TYPE_BITS = 0b111;
const HAS_MORE = 0x80;
const HAS_XATTRS = 0x04;
const HAS_LINK_MARK = 0x08;
const HAS_EXTENSIONS = 0x10;
const MORE_BITS = 0x1f;

/** The forms of a time. */
const TIME_SAME = 0;
const TIME_NEAR = 1;
const TIME_WHOLE = 2;
const NEAR_NS_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** The inode header: every inode begins with it. */
export interface InodeHeader {
  readonly type: InodeType;
  /** A link count follows; a directory was removed. */
  readonly hasLinkMark: boolean;
  /** What inodes of all types have. */
  readonly base: Omit<PipeInode, 'type' | 'linkCount'>;
}

/** Writes an inode header. EINVAL for values that {@link decodeInodeHeader} would refuse. */
export function encodeInodeHeader(
  out: ByteWriter,
  inode: Inode,
  hasLinkMark: boolean,
  table: SegmentTable,
): void {
  const { mode, uid, gid, mtimeNs, ctimeNs, birthNs, atimeNs, xattrs, extensions } = inode;
  if (!(mode <= MODE_MAX && uid <= OWNER_MAX && gid <= OWNER_MAX)) {
    throw new NetsealError('EINVAL', `impossible mode or owner: 0o${mode.toString(8)}, ${uid}, ${gid}`);
  }
  for (const timeNs of [mtimeNs, ctimeNs, birthNs, atimeNs ?? 0n]) {
    if (BigInt.asIntN(64, timeNs) !== timeNs) {
      throw new NetsealError('EINVAL', `a time does not fit 64 bits of nanoseconds: ${timeNs}`);
    }
  }
  const ctimeForm = timeForm(ctimeNs - mtimeNs);
  const birthForm = timeForm(ctimeNs - birthNs);
  const accessForm = atimeNs === undefined ? 0 : accessTimeForm(atimeNs - mtimeNs);
  const more =
    accessForm |
    (xattrs.length > 0 ? HAS_XATTRS : 0) |
    (hasLinkMark ? HAS_LINK_MARK : 0) |
    (extensions === undefined ? 0 : HAS_EXTENSIONS);
  out.u8(INODE_TYPES.indexOf(inode.type) | (ctimeForm << 3) | (birthForm << 5) | (more === 0 ? 0 : HAS_MORE));
  if (more !== 0) out.u8(more);
  out.rawHex(inode.id, ID_BYTES);
  out.varint(inode.version);
  out.varint(inode.dataVersion);
  out.varint(mode);
  out.varint(uid);
  out.varint(gid);
  encodeTime(out, TIME_WHOLE, mtimeNs, 0n);
  encodeTime(out, ctimeForm, ctimeNs, ctimeNs - mtimeNs);
  encodeTime(out, birthForm, birthNs, ctimeNs - birthNs);
  if (atimeNs !== undefined) encodeTime(out, accessForm, atimeNs, atimeNs - mtimeNs);
  if (xattrs.length > 0) encodeXattrs(out, xattrs);
  if (extensions !== undefined) {
    encodeExtensions(out, extensions.items);
    table.keepNamed(extensions.items, extensions.segments);
  }
}

/** Reads an inode header. Throws EFORMAT, or EUNSUPPORTED for what only a newer netseal writes. */
export function decodeInodeHeader(input: ByteReader, segments: SegmentList): InodeHeader {
  const word = input.u8();
  const type = INODE_TYPES[word & TYPE_BITS];
  if (type === undefined) throw input.unsupported(`an inode of type ${word & TYPE_BITS}`);
  const ctimeForm = (word >> 3) & 0b11;
  const birthForm = (word >> 5) & 0b11;
  const more = (word & HAS_MORE) === 0 ? 0 : input.u8();
  if ((word & HAS_MORE) !== 0 && more === 0) throw input.error('a second byte is there for nothing');
  if (more > MORE_BITS) throw input.unsupported(`an inode with the bits 0x${more.toString(16)}`);
  const accessForm = more & 0b11;
  if (Math.max(ctimeForm, birthForm, accessForm) > TIME_WHOLE) {
    throw input.unsupported('a time of form 3');
  }
  const id = input.hex(ID_BYTES);
  const version = input.varint();
  const dataVersion = input.varint();
  const mode = input.varint(MODE_MAX);
  const uid = input.varint(OWNER_MAX);
  const gid = input.varint(OWNER_MAX);
  const mtimeNs = input.i64();
  const ctimeNs = decodeTime(input, ctimeForm, mtimeNs, 1n);
  const birthNs = decodeTime(input, birthForm, ctimeNs, -1n);
  const accessed = accessForm === 0 ? {} : { atimeNs: decodeAccessTime(input, accessForm, mtimeNs) };
  const xattrs = (more & HAS_XATTRS) === 0 ? [] : decodeXattrs(input);
  const extended = (more & HAS_EXTENSIONS) === 0 ? {} : { extensions: readExtensions(input, segments) };
  return {
    type,
    hasLinkMark: (more & HAS_LINK_MARK) !== 0,
    base: {
      id,
      version,
      dataVersion,
      mode,
      uid,
      gid,
      mtimeNs,
      ctimeNs,
      birthNs,
      ...accessed,
      xattrs,
      ...extended,
    },
  };
}

function readExtensions(input: ByteReader, segments: SegmentList): Extensions {
  const items = decodeExtensions(input);
  return { items, segments: segments.namedIn(items) };
}

/**
 * Returns the form that a time is written in.
 *
 * @param laterNs by how much ctime follows the other time. Negative when it comes before it.
 */
function timeForm(laterNs: bigint): number {
  if (laterNs === 0n) return TIME_SAME;
  return laterNs > 0n && laterNs <= NEAR_NS_MAX ? TIME_NEAR : TIME_WHOLE;
}

function encodeTime(out: ByteWriter, form: number, timeNs: bigint, laterNs: bigint): void {
  if (form === TIME_NEAR) out.varint(Number(laterNs));
  if (form === TIME_WHOLE) out.i64(timeNs);
}

/**
 * Reads a time in a form. Throws EFORMAT, also when another form would be the right one.
 *
 * @param otherNs the time that forms 0 and 1 refer to.
 * @param direction 1n for a time that form 1 puts after `otherNs`, -1n for one before it.
 */
function decodeTime(input: ByteReader, form: number, otherNs: bigint, direction: bigint): bigint {
  if (form === TIME_SAME) return otherNs;
  if (form === TIME_WHOLE) {
    const timeNs = input.i64();
    if (timeForm((timeNs - otherNs) * direction) !== form)
      throw input.error('a time is longer than it needs to be');
    return timeNs;
  }
  const distance = input.varint();
  const timeNs = otherNs + BigInt(distance) * direction;
  if (distance === 0 || BigInt.asIntN(64, timeNs) !== timeNs) throw input.error('an impossible time');
  return timeNs;
}

/** Returns the form of an access time, which follows mtime by so much. */
function accessTimeForm(laterNs: bigint): number {
  return laterNs >= 0n && laterNs <= NEAR_NS_MAX ? TIME_NEAR : TIME_WHOLE;
}

function decodeAccessTime(input: ByteReader, form: number, mtimeNs: bigint): bigint {
  const timeNs = form === TIME_WHOLE ? input.i64() : mtimeNs + BigInt(input.varint());
  if (BigInt.asIntN(64, timeNs) !== timeNs) throw input.error('an impossible time');
  if (accessTimeForm(timeNs - mtimeNs) !== form) throw input.error('a time is longer than it needs to be');
  return timeNs;
}

function encodeXattrs(out: ByteWriter, xattrs: readonly ExtendedAttribute[]): void {
  out.varint(xattrs.length);
  let previous = '';
  for (const { key, value } of xattrs) {
    requireArgument(key > previous, 'extended attributes must be ascending by key, none empty');
    requireArgument(
      key.length <= NAME_BYTES_MAX && value.byteLength <= XATTR_VALUE_BYTES_MAX,
      `an extended attribute is too long: a key of ${key.length}, a value of ${value.byteLength} bytes`,
    );
    out.sizedLatin1(key);
    out.sized(value);
    previous = key;
  }
}

function decodeXattrs(input: ByteReader): readonly ExtendedAttribute[] {
  // At least three bytes: the length of a key, a key of one byte, the length of a value.
  const count = input.varint(Math.floor(input.restBytes / 3));
  if (count === 0) throw input.error('extended attributes announced, and none there');
  const xattrs = [];
  let previous = '';
  for (let at = 0; at < count; at += 1) {
    const key = input.sizedLatin1(NAME_BYTES_MAX);
    if (key <= previous) throw input.error('extended attributes out of order');
    xattrs.push({ key, value: input.sized(XATTR_VALUE_BYTES_MAX) });
    previous = key;
  }
  return xattrs;
}

/** Writes an inode that is no directory's. EINVAL for values that {@link decodeLinkable} would refuse. */
export function encodeLinkable(out: ByteWriter, inode: LinkableInode, table: SegmentTable): void {
  const { linkCount } = inode;
  encodeInodeHeader(out, inode, linkCount !== 1, table);
  requireArgument(linkCount <= LINK_COUNT_MAX, 'more links than can be');
  if (linkCount !== 1) out.varint(linkCount);
  if (inode.type === 'file') encodeFile(out, inode, table);
  if (inode.type === 'symlink') {
    requireArgument(
      inode.target.byteLength > 0 && inode.target.byteLength <= TARGET_BYTES_MAX,
      `a symlink's target has 1 to ${TARGET_BYTES_MAX} bytes, not ${inode.target.byteLength}`,
    );
    out.sized(inode.target);
  }
  if (isDevice(inode)) {
    const { major, minor } = inode;
    requireArgument(
      major <= DEVICE_NUMBER_MAX && minor <= DEVICE_NUMBER_MAX,
      `an impossible device: ${major}, ${minor}`,
    );
    out.varint(major);
    out.varint(minor);
  }
}

function encodeFile(out: ByteWriter, inode: FileInode, table: SegmentTable): void {
  const { sizeBytes, unitSizeBytes, map } = inode;
  const problem = mapProblem(inode);
  requireArgument(problem === undefined, `file inode: ${problem}`);
  out.varint(sizeBytes);
  out.u8(unitSizeToLog2(unitSizeBytes) | (map.depth << 5));
  out.varint(inode.storedBytes);
  encodeMapSlotsInto(out, map.slots, table, map.depth);
}

/** The header of an inode that is no directory's. */
export interface LinkableHeader extends InodeHeader {
  readonly type: LinkableInode['type'];
}

export function isLinkableHeader(header: InodeHeader): header is LinkableHeader {
  return header.type !== 'directory';
}

/** Reads what follows the header in an inode that is no directory's. Throws EFORMAT. */
export function decodeLinkable(
  input: ByteReader,
  { type, hasLinkMark, base }: LinkableHeader,
  segments: SegmentList,
): LinkableInode {
  const linkCount = hasLinkMark ? input.varint(LINK_COUNT_MAX) : 1;
  if (hasLinkMark && linkCount === 1) throw input.error('a link count is there that need not be');
  switch (type) {
    case 'file':
      return { ...base, type, linkCount, ...decodeFile(input, segments) };
    case 'symlink': {
      const target = input.sized(TARGET_BYTES_MAX);
      if (target.byteLength === 0) throw input.error('a symlink without a target');
      return { ...base, type, linkCount, target };
    }
    case 'characterDevice':
    case 'blockDevice': {
      const major = input.varint(DEVICE_NUMBER_MAX);
      return { ...base, type, linkCount, major, minor: input.varint(DEVICE_NUMBER_MAX) };
    }
    default:
      return { ...base, type, linkCount };
  }
}

function decodeFile(
  input: ByteReader,
  segments: SegmentList,
): Pick<FileInode, 'sizeBytes' | 'unitSizeBytes' | 'storedBytes' | 'map'> {
  const sizeBytes = input.varint();
  const word = input.u8();
  const unitSizeBytes = 2 ** (word & 0x1f);
  const depth = word >> 5;
  if (unitSizeBytes < UNIT_BYTES_MIN || unitSizeBytes > UNIT_BYTES_MAX) {
    throw input.error(`units of ${unitSizeBytes} bytes`);
  }
  const storedBytes = input.varint();
  const map = { depth, slots: decodeMapSlotsFrom(input, segments, depth, ROOT_SLOTS) };
  const problem = mapProblem({ sizeBytes, unitSizeBytes, map });
  if (problem !== undefined) throw input.error(problem);
  return { sizeBytes, unitSizeBytes, storedBytes, map };
}

/**
 * Says what is wrong with a map's root; undefined when nothing is. A slot past the file's end is wrong, and
 * so is a slice that reaches past it: their bytes would appear in the file when the file grows.
 */
function mapProblem({
  sizeBytes,
  unitSizeBytes,
  map,
}: Pick<FileInode, 'sizeBytes' | 'unitSizeBytes' | 'map'>): string | undefined {
  if (!(Number.isInteger(map.depth) && map.depth >= 0 && map.depth <= MAP_DEPTH_MAX))
    return `a map of depth ${map.depth}`;
  const last = map.slots.at(-1);
  if (last === undefined) return undefined;
  if (last.slot >= ROOT_SLOTS) return `a map root with a slot ${last.slot}`;
  if (last.slot * unitsPerSlot(map.depth) >= sizeToUnitCount(sizeBytes, unitSizeBytes)) {
    return `map slot ${last.slot} lies past the end of the file`;
  }
  for (const { slot, pointer } of map.depth === 0 ? map.slots : []) {
    const bytesMax = Math.min(unitSizeBytes, sizeBytes - slot * unitSizeBytes);
    const sliceBytes = pointer.slice?.lengthBytes ?? 0;
    if (sliceBytes > bytesMax) return `map slot ${slot} has ${sliceBytes} bytes of a pack for ${bytesMax}`;
  }
  return undefined;
}

/**
 * Throws EINVAL for an inode that cannot be encoded, so that a change which sets it can be refused by itself.
 * The names in a directory are not looked at.
 */
export function checkEncodable(inode: Inode): void {
  const out = new ByteWriter();
  if (inode.type === 'directory') encodeInodeHeader(out, inode, inode.isDead, new SegmentTable());
  else encodeLinkable(out, inode, new SegmentTable());
}

/** Returns an upper bound for the bytes of an inode header. */
export function inodeHeaderBytes(inode: Inode): number {
  const { ctimeNs } = inode;
  let bytes = 2 + ID_BYTES + varintBytes(inode.version) + varintBytes(inode.dataVersion);
  bytes += varintBytes(inode.mode) + varintBytes(inode.uid) + varintBytes(inode.gid) + 8;
  bytes += (ctimeNs === inode.mtimeNs ? 0 : 8) + (ctimeNs === inode.birthNs ? 0 : 8);
  bytes += inode.atimeNs === undefined ? 0 : 8;
  // Three bytes for the count and for a value's length, two for a key's length.
  if (inode.xattrs.length > 0) bytes += 3;
  for (const { key, value } of inode.xattrs) bytes += 2 + key.length + 3 + value.byteLength;
  if (inode.extensions !== undefined) bytes += extensionsBytes(inode.extensions);
  return bytes;
}

/**
 * Returns an upper bound for the bytes that an embedded inode adds to a leaf.
 *
 * @param before the leaf's previous pointer into a pack, if there is one.
 */
export function linkableBytes(inode: LinkableInode, before?: Pointer): number {
  let bytes = inodeHeaderBytes(inode);
  if (inode.linkCount !== 1) bytes += varintBytes(inode.linkCount);
  return bytes + contentBytes(inode, before);
}

function contentBytes(inode: LinkableInode, before: Pointer | undefined): number {
  if (inode.type === 'file') {
    return (
      varintBytes(inode.sizeBytes) +
      1 +
      varintBytes(inode.storedBytes) +
      mapSlotsBytes(inode.map.slots, before)
    );
  }
  if (inode.type === 'symlink') return 2 + inode.target.byteLength;
  return isDevice(inode) ? varintBytes(inode.major) + varintBytes(inode.minor) : 0;
}

/** True for the inode of a character or block device. */
export function isDevice(inode: Inode): inode is DeviceInode {
  return inode.type === 'characterDevice' || inode.type === 'blockDevice';
}
