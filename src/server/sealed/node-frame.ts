/**
 * The frame around inodes, name nodes and map pages in the plaintext of a record: a table of the segments
 * that their pointers name. Pure.
 *
 *   1       layout version, 2
 *   varint  number of segments
 *   16 n    their ids: those that pointers name, in the order of their first use below; then those that only
 *           extensions name, ascending
 *   -       the node
 */
import { ByteReader, ByteWriter } from '../../base/coder.ts';
import { NetsealError } from '../../base/errors.ts';
import { SegmentList, SegmentTable } from './pointer.ts';

/** The number that the layout has in the store. 1 was that of its drafts. */
export const LAYOUT_VERSION = 2;
const DRAFT_VERSION = 1;

/** An upper bound for version, number of segments, and a name node's level and count. */
export const FRAME_BYTES_MAX = 16;

/** Encodes a node in its frame. The caller owns the bytes. */
export function encodeFramed(
  write: (out: ByteWriter, table: SegmentTable) => void,
  startBytes?: number,
): Uint8Array<ArrayBuffer> {
  const table = new SegmentTable();
  const body = new ByteWriter(startBytes);
  write(body, table);
  const out = new ByteWriter(body.lengthBytes + 512);
  out.u8(LAYOUT_VERSION);
  table.encode(out);
  out.raw(body.written);
  return out.written;
}

/**
 * Decodes all of `bytes`. EUNSUPPORTED for another layout version. EFORMAT for bytes that {@link
 * encodeFramed} would not write: each value has only one encoding.
 */
export function decodeFramed<Node>(
  bytes: Uint8Array,
  what: string,
  read: (input: ByteReader, segments: SegmentList) => Node,
): Node {
  const input = new ByteReader(bytes, what);
  readVersion(input, what);
  const segments = SegmentList.decode(input);
  const node = read(input, segments);
  if (!segments.isUsedUp) throw input.error('a segment is listed that nothing names, or out of order');
  input.end();
  return node;
}

/** Reads the version byte. EUNSUPPORTED for a newer version or that of drafts, EFORMAT for 0. */
export function readVersion(input: ByteReader, what: string): void {
  const version = input.u8();
  if (version === 0) throw input.error('version 0');
  requireLayout(what, version);
}

/** Throws EUNSUPPORTED unless the version is {@link LAYOUT_VERSION}, and says what to do. */
export function requireLayout(what: string, version: number): void {
  if (version === LAYOUT_VERSION) return;
  const why =
    version === DRAFT_VERSION
      ? 'a draft of the layout, from before its first version. Get the files with the netseal that put them, and put them into a new volume'
      : `this netseal knows ${LAYOUT_VERSION}. Use a newer one`;
  throw new NetsealError('EUNSUPPORTED', `${what} of layout ${version}: ${why}`);
}
