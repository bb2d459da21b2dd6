/**
 * A segment: sealed records without gaps, a sealed footer that lists them, and a clear trailer that says
 * where the footer begins. `docs/LAYOUT.md`, "Segments", is the specification. Pure.
 *
 *   -- footer: the plaintext of the record --
 *   1       layout version, 2
 *   varint  number of records
 *   -- each, in the order in which they lie --
 *   1       bits 0-3 kind; bit 4 an object id follows; bit 5 an index follows; others 0
 *   16      object id, unless it is the previous record's
 *   varint  index, unless it is as expected: one more than the previous record's if that has the same object
 *           and kind, otherwise 0
 *   1       log2 of the unit size (units only)
 *   varint  length
 *   16      tag
 *
 *   -- trailer: the last 16 bytes --
 *   4       magic "nSeg"
 *   1       layout version, 2
 *   3       zero
 *   4       length of the sealed footer
 *   4       zero
 */
import { equalBytes, viewOf } from '../../base/bytes.ts';
import { ByteReader, ByteWriter } from '../../base/coder.ts';
import { NetsealError, requireArgument } from '../../base/errors.ts';
import { UNIT_BYTES_MAX, UNIT_BYTES_MIN } from '../../base/geometry.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';
import {
  KIND_NAMES,
  payloadToSealedBytes,
  RECORD_BYTES_MAX,
  RECORD_KINDS,
  RECORD_OVERHEAD_BYTES,
  type RecordKind,
  TAG_BYTES,
} from '../../unit/record-format.ts';
import { LAYOUT_VERSION, readVersion, requireLayout } from './node-frame.ts';
import { SEGMENT_BYTES_MAX } from './pointer.ts';

/** A footer's entry: a record of the segment, and the place that it was sealed for. */
export interface SegmentEntry {
  readonly kind: RecordKind;
  readonly objectId: Id;
  readonly index: number;
  /** 12 to 24 for units, 0 for other kinds. */
  readonly unitSizeLog2: number;
  readonly offsetBytes: number;
  /** Length of the sealed record. */
  readonly lengthBytes: number;
  /** The record's tag, 16 bytes. */
  readonly tag: Uint8Array;
}

export const TRAILER_BYTES = 16;
/** The least that a segment takes beside its records: a padded footer, and the trailer. */
export const SEGMENT_OVERHEAD_BYTES_MIN: number = payloadToSealedBytes(1, 'control') + TRAILER_BYTES;
const MAGIC = new Uint8Array([0x6e, 0x53, 0x65, 0x67]);

const HAS_OBJECT = 0x10;
const HAS_INDEX = 0x20;
const ENTRY_BYTES_MIN: number = 2 + TAG_BYTES;

/** The entry before the one that is written or read: an entry leaves out what it has in common with that. */
type Previous = Pick<SegmentEntry, 'kind' | 'objectId' | 'index'>;

/**
 * Encodes a footer's plaintext. EINVAL unless the records begin at 0, lie without gaps and could be sealed.
 */
export function encodeFooter(entries: readonly SegmentEntry[]): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(64 + 40 * entries.length);
  out.u8(LAYOUT_VERSION);
  out.varint(entries.length);
  let previous: Previous | undefined;
  let endBytes = 0;
  for (const entry of entries) {
    const problem = entry.offsetBytes === endBytes ? entryProblem(entry) : 'it leaves a gap';
    if (problem !== undefined) throw new NetsealError('EINVAL', `segment entry: ${problem}`);
    encodeEntry(out, entry, previous);
    endBytes += entry.lengthBytes;
    previous = entry;
  }
  return out.written;
}

function encodeEntry(out: ByteWriter, entry: SegmentEntry, previous: Previous | undefined): void {
  const isSameObject = entry.objectId === previous?.objectId;
  const isExpected = entry.index === expectedIndex(entry.kind, isSameObject, previous);
  out.u8(RECORD_KINDS[entry.kind] | (isSameObject ? 0 : HAS_OBJECT) | (isExpected ? 0 : HAS_INDEX));
  if (!isSameObject) out.rawHex(entry.objectId, ID_BYTES);
  if (!isExpected) out.varint(entry.index);
  if (entry.kind === 'unit') out.u8(entry.unitSizeLog2);
  out.varint(entry.lengthBytes);
  out.raw(entry.tag);
}

function expectedIndex(kind: RecordKind, isSameObject: boolean, previous: Previous | undefined): number {
  return isSameObject && kind === previous?.kind ? previous.index + 1 : 0;
}

/**
 * Decodes a footer's plaintext. Throws EFORMAT, or EUNSUPPORTED for another layout version or an unknown kind
 * of record.
 *
 * @param footerOffsetBytes where the footer begins: the records must end there.
 */
export function decodeFooter(bytes: Uint8Array, footerOffsetBytes: number): SegmentEntry[] {
  const input = new ByteReader(bytes, 'segment footer');
  readVersion(input, 'segment footer');
  const count = input.varint(Math.floor(input.restBytes / ENTRY_BYTES_MIN));
  const entries: SegmentEntry[] = [];
  let endBytes = 0;
  for (let at = 0; at < count; at += 1) {
    const entry = decodeEntry(input, endBytes, entries[at - 1]);
    const problem = entryProblem(entry);
    if (problem !== undefined) throw input.error(problem);
    entries.push(entry);
    endBytes += entry.lengthBytes;
  }
  input.end();
  if (endBytes !== footerOffsetBytes) {
    throw input.error(`its records end at ${endBytes}, and it begins at ${footerOffsetBytes}`);
  }
  return entries;
}

function decodeEntry(input: ByteReader, offsetBytes: number, previous: Previous | undefined): SegmentEntry {
  const word = input.u8();
  if (word >= 2 * HAS_INDEX) throw input.error(`an impossible entry, 0x${word.toString(16)}`);
  const kind = KIND_NAMES.get(word & 0x0f);
  if (kind === undefined) {
    throw new NetsealError('EUNSUPPORTED', `segment footer with a record of unknown kind ${word & 0x0f}`);
  }
  const namesObject = (word & HAS_OBJECT) !== 0;
  const objectId = namesObject ? input.hex(ID_BYTES) : previous?.objectId;
  if (objectId === undefined || (namesObject && objectId === previous?.objectId)) {
    throw input.error('an object id is missing, or there for nothing');
  }
  const expected = expectedIndex(kind, !namesObject, previous);
  const index = (word & HAS_INDEX) === 0 ? expected : input.varint();
  if ((word & HAS_INDEX) !== 0 && index === expected) throw input.error('an index is there for nothing');
  const unitSizeLog2 = kind === 'unit' ? input.u8() : 0;
  const lengthBytes = input.varint(RECORD_BYTES_MAX);
  return { kind, objectId, index, unitSizeLog2, offsetBytes, lengthBytes, tag: input.raw(TAG_BYTES) };
}

function entryProblem(entry: SegmentEntry): string | undefined {
  const { kind, index, unitSizeLog2, offsetBytes, lengthBytes } = entry;
  if (kind === 'segmentFooter' || kind === 'streamUnit') return `a ${kind} has no place in a segment`;
  if (kind === 'pack' && index !== 0) return `a pack of index ${index}`;
  if (!Number.isSafeInteger(index) || index < 0) return 'an index that is not from 0 to 2^53 - 1';
  if (!Number.isInteger(unitSizeLog2)) return `a unit size of 2^${unitSizeLog2}`;
  const unitSizeBytes = 2 ** unitSizeLog2;
  if (
    kind === 'unit' ? unitSizeBytes < UNIT_BYTES_MIN || unitSizeBytes > UNIT_BYTES_MAX : unitSizeLog2 !== 0
  ) {
    return `a ${kind} of unit size 2^${unitSizeLog2}`;
  }
  if (lengthBytes < RECORD_OVERHEAD_BYTES || lengthBytes > RECORD_BYTES_MAX) {
    return `a record of ${lengthBytes} bytes`;
  }
  if (offsetBytes + lengthBytes > SEGMENT_BYTES_MAX) return 'the segment is too long';
  return entry.tag.byteLength === TAG_BYTES ? undefined : 'a tag that is not 16 bytes';
}

/** Encodes a trailer. `footerBytes` is the length of the sealed footer. */
export function encodeTrailer(footerBytes: number): Uint8Array<ArrayBuffer> {
  requireArgument(isFooterPossible(footerBytes), `a sealed footer cannot have ${footerBytes} bytes`);
  const trailer = new Uint8Array(TRAILER_BYTES);
  trailer.set(MAGIC);
  trailer[4] = LAYOUT_VERSION;
  viewOf(trailer).setUint32(8, footerBytes, true);
  return trailer;
}

/**
 * Decodes a trailer. Throws EFORMAT, or EUNSUPPORTED for another layout version. The trailer is not
 * authenticated: do not trust it before the footer has been opened.
 *
 * @param bytes the last 16 bytes of the segment, or more of its end.
 * @param segmentBytes length of the whole segment.
 */
export function decodeTrailer(
  bytes: Uint8Array,
  segmentBytes: number,
): { footerOffsetBytes: number; footerBytes: number } {
  if (bytes.byteLength < TRAILER_BYTES) throw malformed(`only ${bytes.byteLength} bytes`);
  const trailer = bytes.subarray(bytes.byteLength - TRAILER_BYTES);
  const view = viewOf(trailer);
  if (!equalBytes(trailer.subarray(0, MAGIC.byteLength), MAGIC)) throw malformed('wrong magic');
  const version = view.getUint8(4);
  if (version === 0) throw malformed('version 0');
  requireLayout('segment', version);
  if (view.getUint32(4, true) !== LAYOUT_VERSION || view.getUint32(12, true) !== 0) {
    throw malformed('reserved bytes are not zero');
  }
  const footerBytes = view.getUint32(8, true);
  const footerOffsetBytes = segmentBytes - TRAILER_BYTES - footerBytes;
  if (!isFooterPossible(footerBytes) || footerOffsetBytes < 0) {
    throw malformed(`a footer of ${footerBytes} bytes in a segment of ${segmentBytes}`);
  }
  return { footerOffsetBytes, footerBytes };
}

function isFooterPossible(footerBytes: number): boolean {
  return (
    Number.isInteger(footerBytes) && footerBytes >= RECORD_OVERHEAD_BYTES && footerBytes <= RECORD_BYTES_MAX
  );
}

function malformed(problem: string): NetsealError {
  return new NetsealError('EFORMAT', `segment trailer: ${problem}`);
}
