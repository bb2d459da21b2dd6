/** Where a sealed record lies, and which version of it is meant. Pure. */
import { type ByteReader, type ByteWriter, varintBytes } from '../../base/coder.ts';
import { NetsealError } from '../../base/errors.ts';
import { ID_BYTES, type Id } from '../../base/ids.ts';
import { RECORD_BYTES_MAX, RECORD_OVERHEAD_BYTES, TAG_BYTES } from '../../unit/record-format.ts';

/** Under which place a record was sealed. */
export interface Origin {
  readonly objectId: Id;
  readonly index: number;
}

export interface Pointer {
  readonly segment: Id;
  readonly offsetBytes: number;
  /** Of the sealed record. */
  readonly lengthBytes: number;
  /** 16 bytes: the record's authentication tag. */
  readonly tag: Uint8Array;
  /** Only where it differs from where the pointer stands: clones, stashes, conflict variants. */
  readonly origin?: Origin | undefined;
}

/** No segment is longer. */
export const SEGMENT_BYTES_MAX: number = 2 ** 32 - 1;
/** How many segments one node may name. */
const SEGMENTS_PER_NODE_MAX = 0xffff;

/** True when both name the same bytes. */
export function isSamePointer(left: Pointer, right: Pointer): boolean {
  return (
    left.segment === right.segment &&
    left.offsetBytes === right.offsetBytes &&
    left.lengthBytes === right.lengthBytes &&
    Buffer.compare(left.tag, right.tag) === 0
  );
}

/** The segments that the pointers of one node name, each once, in the order of their first use. */
export class SegmentTable {
  readonly #numbers = new Map<Id, number>();
  /** By number: where the last pointer into the segment ended. */
  readonly #ends: number[] = [];

  numberOf(segment: Id): number {
    const known = this.#numbers.get(segment);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    if (number === SEGMENTS_PER_NODE_MAX) {
      throw new NetsealError('EINVAL', `a node cannot name more than ${SEGMENTS_PER_NODE_MAX} segments`);
    }
    this.#numbers.set(segment, number);
    this.#ends.push(0);
    return number;
  }

  /** Notes where the newest pointer into a segment ends, and returns where the one before it did. */
  swapEnd(number: number, endBytes: number): number {
    const before = this.#ends[number] ?? 0;
    this.#ends[number] = endBytes;
    return before;
  }

  /** A varint for the count, then 16 bytes each. */
  encode(out: ByteWriter): void {
    out.varint(this.#numbers.size);
    for (const segment of this.#numbers.keys()) out.rawHex(segment, ID_BYTES);
  }
}

/** A {@link SegmentTable} on its way back. */
export class SegmentList {
  readonly #ids: readonly Id[];
  readonly #ends: number[] = [];

  private constructor(ids: readonly Id[]) {
    this.#ids = ids;
  }

  /** EFORMAT for a segment that is there twice. */
  static decode(input: ByteReader): SegmentList {
    const count = input.varint(Math.min(SEGMENTS_PER_NODE_MAX, Math.floor(input.restBytes / ID_BYTES)));
    const ids = Array.from({ length: count }, () => input.hex(ID_BYTES));
    if (new Set(ids).size !== count) throw input.error('a segment is listed twice');
    return new SegmentList(ids);
  }

  /** The segment of a number, unless there is none or an earlier one was not used yet. */
  use(number: number): Id | undefined {
    const id = this.#ids[number];
    if (id === undefined || number > this.#ends.length) return undefined;
    if (number === this.#ends.length) this.#ends.push(0);
    return id;
  }

  endOf(number: number): number {
    return this.#ends[number] ?? 0;
  }

  setEnd(number: number, endBytes: number): void {
    this.#ends[number] = endBytes;
  }

  get isUsedUp(): boolean {
    return this.#ends.length === this.#ids.length;
  }
}

/**
 * Writes a pointer; its segment goes into `table`. EINVAL for one that {@link decodePointer} would refuse.
 *
 *   varint  segment: its number in the node's table, times two; plus one when an origin follows
 *   varint  distance: the offset, less the end of the node's previous pointer into this segment (0 for the first);
 *           2d for a distance d from 0 on, -2d - 1 for a negative one
 *   varint  length
 *   16      tag
 *   16      origin's object id           (if so)
 *   varint  origin's index               (if so)
 */
export function encodePointer(out: ByteWriter, pointer: Pointer, table: SegmentTable): void {
  const { origin, offsetBytes, lengthBytes, tag } = pointer;
  if (!isPossible(offsetBytes, lengthBytes) || tag.byteLength !== TAG_BYTES) {
    throw new NetsealError('EINVAL', `an impossible pointer: ${lengthBytes} bytes at ${offsetBytes}`);
  }
  const number = table.numberOf(pointer.segment);
  out.varint(number * 2 + (origin === undefined ? 0 : 1));
  const distance = offsetBytes - table.swapEnd(number, offsetBytes + lengthBytes);
  out.varint(distance >= 0 ? 2 * distance : -2 * distance - 1);
  out.varint(lengthBytes);
  out.raw(tag);
  if (origin !== undefined) {
    out.rawHex(origin.objectId, ID_BYTES);
    out.varint(origin.index);
  }
}

/** EFORMAT for a pointer that no segment could satisfy. */
export function decodePointer(input: ByteReader, segments: SegmentList): Pointer {
  const word = input.varint(2 * SEGMENTS_PER_NODE_MAX + 1);
  const number = word >> 1;
  const segment = segments.use(number);
  if (segment === undefined) throw input.error(`no segment of number ${number}, or not yet`);
  const folded = input.varint(2 * SEGMENT_BYTES_MAX);
  const distance = folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2;
  const offsetBytes = segments.endOf(number) + distance;
  const lengthBytes = input.varint(RECORD_BYTES_MAX);
  if (!isPossible(offsetBytes, lengthBytes)) {
    throw input.error(`an impossible record of ${lengthBytes} bytes at ${offsetBytes}`);
  }
  segments.setEnd(number, offsetBytes + lengthBytes);
  const tag = input.raw(TAG_BYTES);
  if ((word & 1) === 0) return { segment, offsetBytes, lengthBytes, tag };
  const origin = { objectId: input.hex(ID_BYTES), index: input.varint() };
  return { segment, offsetBytes, lengthBytes, tag, origin };
}

function isPossible(offsetBytes: number, lengthBytes: number): boolean {
  return (
    offsetBytes >= 0 &&
    lengthBytes >= RECORD_OVERHEAD_BYTES &&
    lengthBytes <= RECORD_BYTES_MAX &&
    offsetBytes + lengthBytes <= SEGMENT_BYTES_MAX
  );
}

/** Without origin: number 1, distance 1, length 1, tag. */
export const POINTER_BYTES_MIN: number = 3 + TAG_BYTES;

/** At most what a pointer adds to a node, with its segment in the table. */
export function pointerBytes(pointer: Pointer): number {
  const originBytes = pointer.origin === undefined ? 0 : ID_BYTES + varintBytes(pointer.origin.index);
  // Three for the number, five for the distance.
  return ID_BYTES + 3 + 5 + varintBytes(pointer.lengthBytes) + TAG_BYTES + originBytes;
}
