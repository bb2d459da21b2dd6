/**
 * The bytes of inodes of files and symlinks. A directory's leaf embeds them as they are. Also the bytes of
 * the inode header, which directories have as well. `docs/LAYOUT.md`, "Inodes", is the specification. Pure.
 *
 * A size of 1, 8 or 16 is in bytes. "varint" is a number and "sized" a length with so many bytes, see
 * `coder.ts`.
 *
 *   -- inode header --
 *   1       type and forms, see below
 *   16      id
 *   varint  version
 *   varint  data version
 *   varint  mode
 *   varint  uid
 *   varint  gid
 *   8       mtime, signed, in ns since 1970, as all times
 *   -       ctime: by its form, see below
 *   -       birth: by its form, see below
 *   -       if bit 6: varint count of extended attributes, from 1; each, ascending: sized key, sized value
 *   -- a file goes on with --
 *   varint  link count, if bit 7
 *   varint  size of the file
 *   1       bits 0-4 log2 of the unit size; bits 5-7 depth of the map
 *   varint  stored bytes
 *   -       slots of the map's root, see `map-format.ts`
 *   -- a symlink goes on with --
 *   varint  link count, if bit 7
 *   sized   target
 *
 * The first byte:
 *
 *   bits 0-1  type: 0 file, 1 symlink, 2 directory
 *   bits 2-3  form of ctime
 *   bits 4-5  form of birth
 *   bit 6     there are extended attributes
 *   bit 7     file, symlink: the link count is not 1; directory: it was removed
 *
 * The forms of a time. Each time has only one form that fits, the first of:
 *
 *   form  ctime                        birth
 *   0     nothing: equal to mtime      nothing: equal to ctime
 *   1     varint: ns after mtime       varint: ns before ctime        (up to 2^53 - 1)
 *   2     8 bytes, as mtime            8 bytes, as mtime
 */
import { type ByteReader, ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { sizeToUnitCount, UNIT_BYTES_MAX, UNIT_BYTES_MIN, unitSizeToLog2 } from '../../base/geometry.ts';
import { ID_BYTES } from '../../base/ids.ts';
import type { ExtendedAttribute, FileInode, Inode, InodeType, SymlinkInode } from './inode.ts';
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
const MODE_MAX = 0o7777;
const OWNER_MAX = 0xffff_ffff;
const LINK_COUNT_MAX = 0xffff_ffff;

const TYPES: readonly InodeType[] = ['file', 'symlink', 'directory'];
const HAS_XATTRS = 0x40;
const BIT_7 = 0x80;

/** The forms of a time. */
const TIME_SAME = 0;
const TIME_NEAR = 1;
const TIME_WHOLE = 2;
const NEAR_NS_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/** The inode header: every inode begins with it. */
export interface InodeHeader {
  readonly type: InodeType;
  /** Bit 7 of the first byte. What it says depends on the type. */
  readonly hasBit7: boolean;
  /** What inodes of all types have. */
  readonly base: Omit<SymlinkInode, 'type' | 'linkCount' | 'target'>;
}

/** Writes an inode header. EINVAL for values that {@link decodeInodeHeader} would refuse. */
export function encodeInodeHeader(out: ByteWriter, inode: Inode, hasBit7: boolean): void {
  const { mode, uid, gid, mtimeNs, ctimeNs, birthNs, xattrs } = inode;
  if (!(mode <= MODE_MAX && uid <= OWNER_MAX && gid <= OWNER_MAX)) {
    throw new NetsealError('EINVAL', `impossible mode or owner: 0o${mode.toString(8)}, ${uid}, ${gid}`);
  }
  for (const timeNs of [mtimeNs, ctimeNs, birthNs]) {
    if (BigInt.asIntN(64, timeNs) !== timeNs) {
      throw new NetsealError('EINVAL', `a time does not fit 64 bits of nanoseconds: ${timeNs}`);
    }
  }
  const ctimeForm = timeForm(ctimeNs - mtimeNs);
  const birthForm = timeForm(ctimeNs - birthNs);
  const flags = (xattrs.length > 0 ? HAS_XATTRS : 0) | (hasBit7 ? BIT_7 : 0);
  out.u8(TYPES.indexOf(inode.type) | (ctimeForm << 2) | (birthForm << 4) | flags);
  out.rawHex(inode.id, ID_BYTES);
  out.varint(inode.version);
  out.varint(inode.dataVersion);
  out.varint(mode);
  out.varint(uid);
  out.varint(gid);
  encodeTime(out, TIME_WHOLE, mtimeNs, 0n);
  encodeTime(out, ctimeForm, ctimeNs, ctimeNs - mtimeNs);
  encodeTime(out, birthForm, birthNs, ctimeNs - birthNs);
  if (xattrs.length > 0) encodeXattrs(out, xattrs);
}

/** Reads an inode header. Throws EFORMAT. */
export function decodeInodeHeader(input: ByteReader): InodeHeader {
  const word = input.u8();
  const type = TYPES[word & 0b11];
  const ctimeForm = (word >> 2) & 0b11;
  const birthForm = (word >> 4) & 0b11;
  if (type === undefined || ctimeForm > TIME_WHOLE || birthForm > TIME_WHOLE) {
    throw input.error(`an impossible inode, 0x${word.toString(16)}`);
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
  const xattrs = (word & HAS_XATTRS) === 0 ? [] : decodeXattrs(input);
  return {
    type,
    hasBit7: (word & BIT_7) !== 0,
    base: { id, version, dataVersion, mode, uid, gid, mtimeNs, ctimeNs, birthNs, xattrs },
  };
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

/** Writes a file's or symlink's inode. EINVAL for values that {@link decodeFileOrSymlink} would refuse. */
export function encodeFileOrSymlink(
  out: ByteWriter,
  inode: FileInode | SymlinkInode,
  table: SegmentTable,
): void {
  const { linkCount } = inode;
  encodeInodeHeader(out, inode, linkCount !== 1);
  requireArgument(linkCount <= LINK_COUNT_MAX, 'more links than can be');
  if (linkCount !== 1) out.varint(linkCount);
  if (inode.type === 'symlink') {
    requireArgument(
      inode.target.byteLength > 0 && inode.target.byteLength <= TARGET_BYTES_MAX,
      `a symlink's target has 1 to ${TARGET_BYTES_MAX} bytes, not ${inode.target.byteLength}`,
    );
    out.sized(inode.target);
    return;
  }
  const { sizeBytes, unitSizeBytes, map } = inode;
  const problem = mapProblem(inode);
  requireArgument(problem === undefined, `file inode: ${problem}`);
  out.varint(sizeBytes);
  out.u8(unitSizeToLog2(unitSizeBytes) | (map.depth << 5));
  out.varint(inode.storedBytes);
  encodeMapSlotsInto(out, map.slots, table, map.depth);
}

/** Reads what follows the header in a file's or symlink's inode. Throws EFORMAT. */
export function decodeFileOrSymlink(
  input: ByteReader,
  header: InodeHeader,
  segments: SegmentList,
): FileInode | SymlinkInode {
  const linkCount = header.hasBit7 ? input.varint(LINK_COUNT_MAX) : 1;
  if (header.hasBit7 && linkCount === 1) throw input.error('a link count is there that need not be');
  if (header.type === 'symlink') {
    const target = input.sized(TARGET_BYTES_MAX);
    if (target.byteLength === 0) throw input.error('a symlink without a target');
    return { ...header.base, type: 'symlink', linkCount, target };
  }
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
  return { ...header.base, type: 'file', linkCount, sizeBytes, unitSizeBytes, storedBytes, map };
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
  if (inode.type === 'directory') encodeInodeHeader(out, inode, inode.isDead);
  else encodeFileOrSymlink(out, inode, new SegmentTable());
}

/**
 * Returns an upper bound for the bytes that an embedded inode adds to a leaf.
 *
 * @param before the leaf's previous pointer into a pack, if there is one.
 */
export function fileOrSymlinkBytes(inode: FileInode | SymlinkInode, before?: Pointer): number {
  const { ctimeNs } = inode;
  let bytes = 1 + ID_BYTES + varintBytes(inode.version) + varintBytes(inode.dataVersion);
  bytes += varintBytes(inode.mode) + varintBytes(inode.uid) + varintBytes(inode.gid) + 8;
  bytes += (ctimeNs === inode.mtimeNs ? 0 : 8) + (ctimeNs === inode.birthNs ? 0 : 8);
  // Three bytes for the count and for a value's length, two for a key's length.
  if (inode.xattrs.length > 0) bytes += 3;
  for (const { key, value } of inode.xattrs) bytes += 2 + key.length + 3 + value.byteLength;
  if (inode.linkCount !== 1) bytes += varintBytes(inode.linkCount);
  if (inode.type === 'symlink') return bytes + 2 + inode.target.byteLength;
  bytes += varintBytes(inode.sizeBytes) + 1 + varintBytes(inode.storedBytes);
  return bytes + mapSlotsBytes(inode.map.slots, before);
}
